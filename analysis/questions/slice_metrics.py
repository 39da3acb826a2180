"""Noise, speed and foreign CPU load of a run's slices, by its trials.

Sigma is the standard deviation of one commit's scores between seeds, pooled over commits. Speed is
the steps in a second that the base claims, so it compares slices on one commit and nothing else.
Foreign load is counted by the harness (harness/sandbox/monitor/cpu.py).

Not covered: a task whose genome claims no steps has no speed. On whole GPUs the harness voids
trials that shared them (harness/sandbox/monitor/gpu.py); on shared ones only the speed shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from duckdb import DuckDBPyConnection

from analysis.database.queries import answer
from analysis.times import lasted
from analysis.untrusted_text import first_line

MAX_FOREIGN_SHARE = 0.03
"""Share of its cores' time that a slice may lose to other programs without a warning."""

MIN_SPEED_SHARE = 0.9
"""Share of its speed alone that a slice must keep beside the others, else there is a warning."""

_METRICS = """
WITH ended AS (
  SELECT slice, commit, split, rung, score, facts['foreign_cpu'] AS foreign_cpu,
    CASE WHEN score IS NOT NULL AND commit = base
      THEN nullif(claims['steps'], 0) / nullif(seconds['budget'], 0) END AS speed
  FROM trials CROSS JOIN (SELECT base FROM run) WHERE harness IS NOT NULL
), spreads AS (
  SELECT slice, count(score) - 1 AS degrees, var_samp(score) * (count(score) - 1) AS squares
  FROM ended GROUP BY slice, commit, split, rung HAVING count(score) > 1
), pooled AS (
  SELECT slice, sqrt(sum(squares) / sum(degrees)) AS sigma FROM spreads GROUP BY slice
), figures AS (
  SELECT slice, count(*) AS trials, median(speed) AS steps_per_second,
    avg(foreign_cpu) AS foreign_cpu, max(foreign_cpu) AS foreign_cpu_worst
  FROM ended GROUP BY slice
), unmeasured AS (
  SELECT slice, count(*) AS void FROM trials
  WHERE state = 'voided' AND harness IS NULL GROUP BY slice
)
SELECT slice, coalesce(trials, 0) AS trials, coalesce(void, 0) AS void, sigma, steps_per_second,
  foreign_cpu, foreign_cpu_worst
FROM figures FULL JOIN unmeasured USING (slice) LEFT JOIN pooled USING (slice)
ORDER BY slice
"""

_VOIDS = "SELECT slice, cause, count, duration, example FROM voids"


@dataclass(frozen=True, slots=True)
class VoidTrials:
    """Void trials of one slice and cause.

    count: how many
    duration: wall seconds that they took
    example: why the latest was void
    """

    cause: str
    count: int
    duration: float
    example: str

    def __str__(self) -> str:
        """Return the line that `swarm status` and `swarm slices` show."""
        cost = lasted(self.duration)
        return f"{self.count} void ({self.cause}, {cost}), the latest: {first_line(self.example)}"


def void_lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each row of the view `voids`."""
    for row in rows:
        void = VoidTrials(row["cause"], row["count"], row["duration"], row["example"])
        yield f"{row['slice']}: {void}"


@dataclass(frozen=True, slots=True)
class SliceMetrics:
    """What the trials of one slice show; None where there are no trials to tell.

    trials, void: number of trials that ended, and of those that ended without a measurement
    voids: void trials by their cause, the most frequent first
    sigma: standard deviation of scores between seeds
    steps_per_second: median, beside trials on the other slices
    steps_per_second_alone: median, with all other slices idle
    foreign_cpu, foreign_cpu_worst: share of its cores' time that other programs took: mean, largest
    """

    trials: int = 0
    void: int = 0
    voids: tuple[VoidTrials, ...] = ()
    sigma: float | None = None
    steps_per_second: float | None = None
    steps_per_second_alone: float | None = None
    foreign_cpu: float | None = None
    foreign_cpu_worst: float | None = None

    def as_dict(self) -> dict[str, object]:
        """Return the metrics by name."""
        return asdict(self)

    def warnings(self) -> list[str]:
        """Return a line for each sign that other programs or slices disturb this one."""
        taken = self.foreign_cpu or 0.0
        beside, alone = self.steps_per_second or 0.0, self.steps_per_second_alone or 0.0
        lines = {
            f"others took {taken:.1%} of its cores' time: stop what else runs on this machine,"
            " or void such trials (slices.max_foreign_cpu)": taken > MAX_FOREIGN_SHARE,
            f"{beside:.3g} steps a second beside the others, {alone:.3g} alone: slices slow each"
            " other down, so ask for fewer (slices.count, slices.shares)": beside
            and beside < MIN_SPEED_SHARE * alone,
        }
        return [*(line for line, holds in lines.items() if holds), *map(str, self.voids)]


def metrics_by_slice(con: DuckDBPyConnection) -> dict[str, SliceMetrics]:
    """Return the metrics of each slice that ran a trial."""
    voids: dict[str, list[VoidTrials]] = {}
    for row in answer(con, _VOIDS).named():
        voids.setdefault(row.pop("slice"), []).append(VoidTrials(**row))
    found = {row.pop("slice"): row for row in answer(con, _METRICS).named()}
    return {
        name: SliceMetrics(voids=tuple(voids.get(name, ())), **row) for name, row in found.items()
    }
