"""Return of each arm of a run, and of the swarm against plain sampling and one agent at equal cost.

An arm is an agent with a temperament on an island. It costs dollars, and slice time at the rate of
program.md's `arms`; it earns the gains that its changes were kept for, quarantined ones left out.
At equal cost, an agent alone is taken to earn as much for each dollar as it did here.

Intervals are 95 % ones of a bootstrap over experiments: they say how far the result rests on the
luck of few keeps. Not covered: an agent that would have run alone meets heads that only it has
improved, so later gains would come easier to it, or harder; the baseline, sentinels, stack checks
and promotions, which any way of proposing needs, are charged to nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from duckdb import DuckDBPyConnection

from analysis.database.queries import answer

DRAWS = 2000
"""Samples of the bootstrap."""

SWARM = "the swarm"
"""Name of all arms together."""

_Matrix: TypeAlias = npt.NDArray[np.float64]

_ROWS = """
WITH called AS (
  SELECT experiment, any_value(island) AS island, any_value(agent) AS agent,
    coalesce(any_value(temperament), '') AS temperament, sum(usd) AS usd
  FROM agent_calls WHERE error_kind IS DISTINCT FROM 'summary' GROUP BY experiment
), ran AS (
  SELECT experiment, sum(epoch(ended) - epoch(started)) / 3600 AS hours,
    coalesce(sum(usd), 0.0) AS trial_usd
  FROM trials GROUP BY 1
), kept AS (
  SELECT experiment, gain FROM nodes WHERE ending = 'kept' AND quarantined IS NULL
)
SELECT island, agent, temperament, usd + coalesce(trial_usd, 0.0) AS usd,
  coalesce(hours, 0.0) AS hours, gain
FROM called LEFT JOIN ran USING (experiment) LEFT JOIN kept USING (experiment)
ORDER BY experiment
"""


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ArmReturn:
    """What an arm, an agent or the whole swarm cost and earned.

    agent, temperament, island: the arm; "" for all of them together
    asked, kept: requests for a proposal, and proposals kept
    usd, slice_hours: of its calls and trials
    cost: both together, in dollars at the run's rate
    gain: sum of the gains of what was kept
    per_usd: gain for each dollar of `cost`, None where nothing was paid
    """

    agent: str
    temperament: str
    island: str
    asked: int
    kept: int
    usd: float
    slice_hours: float
    cost: float
    gain: float
    per_usd: Interval | None


@dataclass(frozen=True, slots=True)
class Advantage:
    """What the swarm earned beyond one agent at the swarm's cost; above zero it was worth it."""

    agent: str
    gain: Interval


@dataclass(frozen=True, slots=True)
class ArmsReturn:
    """The arms of a run, the one that earned most for its cost first, and what they show.

    rate: dollars that an hour of a slice counts as
    swarm: all arms together
    advantages: of the swarm over each of its agents alone
    """

    rate: float
    arms: tuple[ArmReturn, ...]
    swarm: ArmReturn
    advantages: tuple[Advantage, ...]


def return_of_arms(con: DuckDBPyConnection) -> ArmsReturn | None:
    """Return what the arms of a run earned, None where it has fewer than two."""
    (rate,) = [row["usd_per_slice_hour"] for row in answer(con, "FROM run").named()] or [1.0]
    rows = answer(con, _ROWS).named()
    by_arm = _grouped(rows, lambda row: (row["agent"], row["temperament"], row["island"]))
    if len({arm[:2] for arm in by_arm}) < 2:  # noqa: PLR2004 - there is nothing to compare
        return None
    arms = [_return(arm[0], arm[1], arm[2], some, rate) for arm, some in by_arm.items()]
    agents = _grouped(rows, lambda row: (row["agent"],))
    return ArmsReturn(
        rate,
        tuple(sorted(arms, key=lambda arm: -(arm.per_usd.value if arm.per_usd else 0.0))),
        _return(SWARM, "", "", rows, rate),
        tuple(
            Advantage(agent, _advantage(rows, some, rate))
            for (agent,), some in agents.items()
            if len(agents) > 1 and _costs(some, rate).sum() > 0
        ),
    )


def _grouped(
    rows: Sequence[Mapping[str, Any]], key: Callable[[Mapping[str, Any]], tuple[str, ...]]
) -> dict[tuple[str, ...], list[Mapping[str, Any]]]:
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def _return(
    agent: str, temperament: str, island: str, rows: Sequence[Mapping[str, Any]], rate: float
) -> ArmReturn:
    costs, gains = _costs(rows, rate), _gains(rows)
    return ArmReturn(
        agent=agent,
        temperament=temperament,
        island=island,
        asked=len(rows),
        kept=sum(row["gain"] is not None for row in rows),
        usd=sum(row["usd"] for row in rows),
        slice_hours=sum(row["hours"] for row in rows),
        cost=float(costs.sum()),
        gain=float(gains.sum()),
        per_usd=_interval(lambda cost, gain: gain / cost, costs, gains) if costs.sum() else None,
    )


def _advantage(
    rows: Sequence[Mapping[str, Any]], alone: Sequence[Mapping[str, Any]], rate: float
) -> Interval:
    """Return the gain of all `rows` less that of an agent's own, scaled to the cost of all."""
    own = {id(row) for row in alone}
    mine = np.array([float(id(row) in own) for row in rows])
    costs, gains = _costs(rows, rate), _gains(rows)

    def difference(cost: _Matrix, gain: _Matrix, part_cost: _Matrix, part_gain: _Matrix) -> _Matrix:
        return gain - part_gain / np.maximum(part_cost, 1e-12) * cost

    return _interval(difference, costs, gains, costs * mine, gains * mine)


def _interval(of: Callable[..., _Matrix], *columns: _Matrix) -> Interval:
    """Return a function of the columns' sums with the interval of a bootstrap over their rows."""
    draw = np.random.default_rng(len(columns[0]))
    counts = draw.multinomial(len(columns[0]), np.full(len(columns[0]), 1 / len(columns[0])), DRAWS)
    sums = [counts @ column for column in columns]
    with np.errstate(all="ignore"):
        values = of(*sums)
    values = values[np.isfinite(values)]
    low, high = np.quantile(values, [0.025, 0.975]) if len(values) else (np.nan, np.nan)
    point = of(*(np.array([column.sum()]) for column in columns))
    return Interval(float(point[0]), float(low), float(high))


def _costs(rows: Sequence[Mapping[str, Any]], rate: float) -> _Matrix:
    return np.array([row["usd"] + row["hours"] * rate for row in rows], dtype=np.float64)


def _gains(rows: Sequence[Mapping[str, Any]]) -> _Matrix:
    return np.array([row["gain"] or 0.0 for row in rows], dtype=np.float64)
