"""Cost of a run and its return, by agent: slice time, dollars and confirmed gain.

The gain of an agent is the sum of the gains that its changes were kept for, quarantined ones left
out. Null proposals (they do nothing) are the control: what is kept of them is kept by luck.

Not covered: trials that belong to no experiment (baseline, sentinels, stack checks, promotions) are
charged to `run`, not to the agents; what they confirm is in `swarm ablation`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from duckdb import DuckDBPyConnection

from analysis.database.queries import answer
from islands.records import Gain

RUN = "run"
"""Name of what is spent on no agent's experiment."""


@dataclass(frozen=True, slots=True)
class AgentCost:
    """What one agent cost and earned.

    agent: its name; RUN for trials of no experiment
    experiments, kept: how many it proposed, and how many of these were kept
    trials: trials run for them
    slice_hours: wall time of these trials, in hours
    usd, tokens: of its calls, and of those that trials of its experiments made
    gain: sum of the gains of what was kept, with its standard error
    unmetered: whether its calls do not pass through the gateway, so that `usd` and `tokens` miss
        them
    """

    agent: str
    experiments: int
    kept: int
    trials: int
    slice_hours: float
    usd: float
    tokens: int
    gain: Gain
    unmetered: bool = False

    @property
    def hours_per_gain(self) -> float | None:
        """Slice hours for each unit of gain, None where nothing was gained."""
        return self.slice_hours / self.gain.mean if self.gain.mean > 0 else None

    @property
    def usd_per_gain(self) -> float | None:
        """Dollars for each unit of gain, None where nothing was gained, or not all was counted."""
        return self.usd / self.gain.mean if self.gain.mean > 0 and not self.unmetered else None


_COST = f"""
WITH proposed AS (
  SELECT agent, count(*) AS experiments,
    count(*) FILTER (verdict = 'keep' AND quarantined IS NULL) AS kept,
    coalesce(sum(gain) FILTER (verdict = 'keep' AND quarantined IS NULL), 0.0) AS gain,
    coalesce(sum(noise ** 2) FILTER (verdict = 'keep' AND quarantined IS NULL), 0.0) AS variance,
    coalesce(sum(pairs) FILTER (verdict = 'keep' AND quarantined IS NULL), 0)::INTEGER AS pairs,
    bool_or(coalesce(notes->>'unmetered', '') != '') AS unmetered
  FROM nodes WHERE experiment IS NOT NULL GROUP BY agent
), ran AS (
  SELECT coalesce(nodes.agent, '{RUN}') AS agent, count(*) AS trials,
    coalesce(sum(epoch(trials.ended) - epoch(trials.started)), 0.0) / 3600 AS hours,
    sum(trials.usd) AS usd, sum(trials.tokens)::BIGINT AS tokens
  FROM trials LEFT JOIN (FROM nodes WHERE experiment IS NOT NULL) AS nodes USING (experiment)
  GROUP BY 1
), called AS (
  SELECT agent, sum(usd) AS usd, sum(tokens_in + tokens_out + tokens_untold)::BIGINT AS tokens
  FROM agent_calls GROUP BY agent
)
SELECT agent, coalesce(experiments, 0) AS experiments, coalesce(kept, 0) AS kept,
  coalesce(trials, 0) AS trials, coalesce(hours, 0.0) AS hours,
  coalesce(called.usd, 0.0) + coalesce(ran.usd, 0.0) AS usd,
  coalesce(called.tokens, 0) + coalesce(ran.tokens, 0) AS tokens,
  coalesce(gain, 0.0) AS gain, coalesce(variance, 0.0) AS variance,
  coalesce(pairs, 0) AS pairs, coalesce(unmetered, false) AS unmetered
FROM proposed FULL JOIN ran USING (agent) FULL JOIN called USING (agent)
ORDER BY agent = '{RUN}', gain DESC, agent
"""  # noqa: S608 - a constant is put in


def cost_by_agent(con: DuckDBPyConnection) -> tuple[AgentCost, ...]:
    """Return what each agent cost, the one that gained most first; the run's own trials last."""
    return tuple(
        AgentCost(
            agent=row["agent"],
            experiments=row["experiments"],
            kept=row["kept"],
            trials=row["trials"],
            slice_hours=row["hours"],
            usd=row["usd"],
            tokens=row["tokens"],
            gain=Gain.normal(row["gain"], math.sqrt(row["variance"]), row["pairs"]),
            unmetered=row["unmetered"],
        )
        for row in answer(con, _COST).named()
    )
