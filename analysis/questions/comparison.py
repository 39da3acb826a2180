"""Comparison of two runs: what each found and cost, and whether the difference is beyond noise.

Scores of two runs compare only if the same harness computed them, on the same task, data and rung.
Gains compare only if both runs began with the same code too; else the scores of the heads do.

Not covered: an island's head was selected by the trials that its gain is the sum of, in both runs
alike; `swarm measure` measures heads again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from duckdb import DuckDBPyConnection

from analysis.database.queries import answer
from analysis.questions.tried import likeness, normalised
from harness.contract import SetupError
from islands.records import Gain

SAME = ("task", "data", "metric", "direction", "harness")
"""Columns of table `run` that must agree for scores to compare."""

ALIKE = 0.99
"""Likeness from which two runs' changes are alike."""


@dataclass(frozen=True, slots=True)
class RunFigures:
    """What a run found and cost.

    run, base: its name and the commit that it started from
    facts: the columns SAME and the first rung, which decide what compares
    head, island: the best island's head, and the island
    score, scores: that head's mean score, and of how many; None and 0 where it was not measured
    sigma: standard deviation of a score between seeds, 0 if unknown
    gain: of that head over the base
    kept, experiments: kept changes and all experiments
    nulls, nulls_kept: A/A tests, and how many of them were kept
    trials, slice_hours, usd: cost
    changes: experiments in that head, by what they changed (`normalised`)
    """

    run: str
    base: str
    facts: Mapping[str, Any]
    head: str
    island: str
    score: float | None
    scores: int
    sigma: float
    gain: Gain
    kept: int
    experiments: int
    nulls: int
    nulls_kept: int
    trials: int
    slice_hours: float
    usd: float
    changes: Mapping[int, frozenset[str]]


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Two runs beside each other.

    one, other: what they found and cost
    differs: why their scores do not compare, "" where they do
    by: what `difference` compares: `gain` over their common base, or the heads' `score`
    difference: by how much `other` is better than `one`, None where that cannot be said
    both: pairs of experiments of the two heads whose changes are alike, numbers aside
    """

    one: RunFigures
    other: RunFigures
    differs: str
    by: str
    difference: Gain | None
    both: tuple[tuple[int, int], ...]


def compare_runs(one: RunFigures, other: RunFigures) -> RunComparison:
    """Compare two runs."""
    differs = _difference_in_kind(one, other)
    by = "gain" if one.base == other.base else "score"
    difference = None
    if not differs:
        difference = _of_gains(one, other) if by == "gain" else _of_scores(one, other)
    return RunComparison(one, other, differs, by, difference, tuple(_common(one, other)))


def figures_of(con: DuckDBPyConnection, diffs: Mapping[str, str]) -> RunFigures:
    """Return the figures of the run that `con` reads; `diffs` has each kept change's by its commit.

    Raises SetupError where nothing was measured yet.
    """
    runs, best = answer(con, "FROM run").named(), answer(con, "FROM standings LIMIT 1").named()
    if not runs or not best:
        raise SetupError("the run has not started: there is nothing to compare")
    (run,), (head,), (totals,) = runs, best, answer(con, _TOTALS).named()
    changes = answer(
        con, "SELECT experiment, commit FROM kept WHERE island = ?", values=[head["island"]]
    ).named()
    gain = Gain.normal(head["gain"], head["noise"], 0)
    return RunFigures(
        run=run["run"],
        base=run["base"],
        facts={name: run[name] for name in SAME} | {"rung": run["rungs"][0]},
        head=head["head"],
        island=head["island"],
        score=head["score"],
        scores=head["scores"] or 0,
        gain=gain,
        changes={row["experiment"]: normalised(diffs.get(row["commit"], "")) for row in changes},
        **totals,
    )


_TOTALS = """
SELECT (SELECT coalesce(sigma, 0.0) FROM noise) AS sigma,
  (SELECT count(*) FROM nodes WHERE ending = 'kept' AND quarantined IS NULL) AS kept,
  (SELECT count(*) FROM nodes WHERE experiment IS NOT NULL) AS experiments,
  (SELECT coalesce(sum(nulls), 0) FROM nulls)::INTEGER AS nulls,
  (SELECT coalesce(sum(nulls_kept), 0) FROM nulls)::INTEGER AS nulls_kept,
  (SELECT count(*) FROM trials WHERE state <> 'voided') AS trials,
  (SELECT coalesce(sum(epoch(ended) - epoch(started)), 0.0) / 3600 FROM trials) AS slice_hours,
  (SELECT coalesce(sum(usd), 0.0) FROM spending) AS usd
"""


def _difference_in_kind(one: RunFigures, other: RunFigures) -> str:
    """Return why the scores of two runs do not compare, "" where they do."""
    for name, value in one.facts.items():
        if value != other.facts[name]:
            a, b = _shown(value), _shown(other.facts[name])
            return f"{name} is {a} in {one.run} and {b} in {other.run}"
    return ""


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return str(value)


def _of_gains(one: RunFigures, other: RunFigures) -> Gain:
    noise = math.hypot(one.gain.noise, other.gain.noise)
    return Gain.normal(other.gain.mean - one.gain.mean, noise, 0)


def _of_scores(one: RunFigures, other: RunFigures) -> Gain | None:
    if one.score is None or other.score is None or not (one.scores and other.scores):
        return None
    sign = 1.0 if one.facts["direction"] == "maximize" else -1.0
    noise = math.hypot(one.sigma / math.sqrt(one.scores), other.sigma / math.sqrt(other.scores))
    return Gain.normal(sign * (other.score - one.score), noise, 0)


def _common(one: RunFigures, other: RunFigures) -> list[tuple[int, int]]:
    return [
        (a, b)
        for a, lines in one.changes.items()
        for b, others in other.changes.items()
        if lines and likeness(lines, others) >= ALIKE
    ]
