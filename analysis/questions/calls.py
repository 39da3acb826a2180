"""Calls to models, by agent and model: how many, how they ended, what they took."""

from __future__ import annotations

from dataclasses import dataclass

from duckdb import DuckDBPyConnection

from analysis.database.queries import answer


@dataclass(frozen=True, slots=True)
class ModelCalls:
    """All calls of one agent to one model.

    agent, model: who called which
    calls, failed: how many, and how many of these brought no answer
    tokens_in, tokens_out: tokens read and written, as the provider counts them
    tokens_cached: those of `tokens_in` that were read from its cache
    tokens_untold: most tokens of calls whose count never came
    usd: US dollars, at most so much where tokens are untold; None: the price is unknown
    seconds: mean seconds of a call that was answered, None if none was
    """

    agent: str
    model: str
    calls: int
    failed: int
    tokens_in: int
    tokens_out: int
    tokens_cached: int
    tokens_untold: int
    usd: float | None
    seconds: float | None

    @property
    def cached(self) -> float:
        """The share of the tokens read that came from the provider's cache."""
        return self.tokens_cached / self.tokens_in if self.tokens_in else 0.0


_CALLS = """
SELECT agent, model, count(*) AS calls, count(*) FILTER (status <> 200) AS failed,
  sum(tokens_in)::BIGINT AS tokens_in, sum(tokens_out)::BIGINT AS tokens_out,
  sum(tokens_cached)::BIGINT AS tokens_cached, sum(tokens_untold)::BIGINT AS tokens_untold,
  CASE WHEN count(usd) = count(*) THEN sum(usd) END AS usd,
  avg(duration) FILTER (status = 200) AS seconds
FROM model_calls GROUP BY agent, model ORDER BY agent, model
"""


def calls_by_model(con: DuckDBPyConnection) -> tuple[ModelCalls, ...]:
    """Return the calls of each agent to each model."""
    return tuple(ModelCalls(**row) for row in answer(con, _CALLS).named())


_UNMETERED = """
SELECT DISTINCT agent FROM nodes WHERE coalesce(notes->>'unmetered', '') != '' ORDER BY agent
"""


def unmetered_agents(con: DuckDBPyConnection) -> tuple[str, ...]:
    """Return the agents with a network of their own, whose calls no record has."""
    return tuple(row["agent"] for row in answer(con, _UNMETERED).named())
