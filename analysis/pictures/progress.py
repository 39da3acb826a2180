"""Progress of a run: every screened candidate, each island's head, and what the run claims.

The staircase of an island is the mean score of its head, with a band of one standard error of the
gain that the step was kept for. Candidates are at their screening score, which is no evidence.
A head that was dropped or quarantined is there as long as it was one. Stars are in the consensus.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.pictures.source import RunSource, short
from analysis.pictures.style import Theme, colour, island_names, label, legend, panels, say_nothing
from islands.records import Gain

_TRIED = """
SELECT experiment, screened, if(quarantined IS NULL, ending, 'quarantined') AS ending FROM nodes
WHERE screened IS NOT NULL AND experiment IS NOT NULL AND agent <> 'null' ORDER BY experiment
"""

_STEPS = """
SELECT island, origin_island, step, experiment, score, gain, noise, hypothesis,
  experiment IN (SELECT unnest(parts) FROM consensus WHERE quarantined IS NULL) AS claimed
FROM kept WHERE score IS NOT NULL ORDER BY island, step
"""

_HEADS = """
WITH moves AS (
  SELECT island, ended AS moved, 1 AS place, node AS head, experiment FROM nodes
    WHERE ending = 'kept'
  UNION ALL SELECT island, recorded, 2, head, NULL FROM catch_ups
  UNION ALL SELECT island, recorded, 2, head, NULL FROM steering WHERE action = 'island_restarted'
  UNION ALL SELECT island, recorded, 3, coalesce(fallback, head), NULL FROM fallbacks
)
SELECT moves.island, score, if(ending = 'kept', noise, NULL) AS noise,
  place = 1 AS own,
  max(coalesce(moves.experiment,
    (SELECT max(n.experiment) FROM nodes AS n WHERE n.recorded <= moved), 0))
    OVER (PARTITION BY moves.island ORDER BY moved, place) AS experiment
FROM moves JOIN nodes ON node = head WHERE score IS NOT NULL ORDER BY moves.island, moved, place
"""
"""Each island's heads: what it kept, adopted, and fell back or was sent back to, dropped or not."""

_BASE = "SELECT avg(score) AS score FROM nodes WHERE kind = 'base' AND score IS NOT NULL"

_LAST = "SELECT coalesce(max(experiment), 1) AS experiment FROM nodes"

MAX_VECTOR_POINTS = 3_000
"""Candidates up to which an SVG holds each as a shape; above, they are one bitmap in it."""

MAX_POINTS = 5_000
"""Candidates that a picture shows; of more, every n-th."""

MAX_NAMES = 12
"""Kept changes that are named; the ones that gained most."""

MAX_NAMES_OF_MANY = 6
"""The same where more than MAX_NUMBERS were kept: a longer legend would cover their heads."""

MAX_NUMBERS = 60
"""Kept changes up to which each is marked and bears its number; of more, the named ones do."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The numbers of a progress chart.

    run: the row of the run
    base: score of the base
    tried: experiment, screening score and ending of each screened candidate
    steps: the kept changes by island
    heads: each island's heads with the experiment from which on it had them, and whether it is
        the island's own
    last: number of the run's last experiment
    limits: lowest and highest score to show
    """

    run: dict[str, Any]
    base: float
    tried: list[dict[str, Any]]
    steps: list[dict[str, Any]]
    heads: list[dict[str, Any]]
    last: int
    limits: tuple[float, float]


def progress(source: RunSource) -> Progress | None:
    """Return what a progress chart shows, None where no candidate has been screened yet."""
    tried, steps, heads = (source.rows(sql) for sql in (_TRIED, _STEPS, _HEADS))
    base, last = source.rows(_BASE)[0]["score"], source.rows(_LAST)[0]["experiment"]
    if base is None or not tried:
        return None
    limits = _limits(base, [row["score"] for row in heads], [row["screened"] for row in tried])
    return Progress(source.run(), base, tried, steps, heads, last, limits)


def draw(source: RunSource, figure: Figure, theme: Theme) -> None:
    """Draw scores by experiment, in the run's metric."""
    (panel,) = panels(figure, theme)
    facts = progress(source)
    if facts is None:
        say_nothing(panel, theme, "no candidate has been screened yet")
        return
    _candidates(panel, theme, facts.tried, facts.limits)
    kept = {step["experiment"]: step for step in facts.steps}
    most = MAX_NAMES if len(kept) <= MAX_NUMBERS else MAX_NAMES_OF_MANY
    best = sorted(kept.values(), key=lambda step: -(step["gain"] or 0.0))[:most]
    marked = list(kept.values()) if len(kept) <= MAX_NUMBERS else best
    islands = source.islands()
    for place, (island, name) in enumerate(zip(islands, island_names(islands), strict=True)):
        own = [step for step in marked if step["origin_island"] == island]
        heads = [head for head in facts.heads if head["island"] == island]
        steps = _Steps(facts.base, heads, facts.last)
        _staircase(panel, name and f"head of {name}", colour(place), steps)
        _mark(panel, colour(place), own)
    _name(panel, theme, marked, best)
    panel.set_ylim(*facts.limits)
    run = facts.run
    better = "lower" if run["direction"] == "minimize" else "higher"
    title = f"{run['run']}: {run['task']}, {len(facts.tried)} candidates, {len(kept)} kept"
    label(panel, theme, "experiment", f"{run['metric']} ({better} is better)", title)
    legend(panel, theme, "upper right" if run["direction"] == "minimize" else "lower right")


def _candidates(
    panel: Axes, theme: Theme, tried: list[dict[str, Any]], limits: tuple[float, float]
) -> None:
    lost = [row for row in tried if row["ending"] != "kept"]
    outside = sum(not limits[0] <= row["screened"] <= limits[1] for row in lost)
    name = f"not kept ({outside} off the scale)" if outside else "not kept"
    shown = thinned(lost, MAX_POINTS)
    if len(shown) < len(lost):
        name += f", {len(shown):,} of {len(lost):,}"
    x, y = [row["experiment"] for row in shown], [row["screened"] for row in shown]
    look: dict[str, Any] = {"linewidths": 0, "rasterized": len(shown) > MAX_VECTOR_POINTS}
    panel.scatter(x, y, s=7, color=theme.faint, label=name, **look)


def thinned(rows: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """Return every n-th row, with the smallest n that leaves at most `most`."""
    return rows[:: max(1, -(-len(rows) // most))]


@dataclass(frozen=True, slots=True)
class _Steps:
    """An island's heads: the base's score, those after it, and the run's last experiment."""

    base: float
    heads: list[dict[str, Any]]
    last: int


def _staircase(panel: Axes, name: str, tone: str, steps: _Steps) -> None:
    x = [0, *(step["experiment"] for step in steps.heads), max(steps.last, 1)]
    y = [steps.base, *(step["score"] for step in steps.heads)]
    y.append(y[-1])
    noise = [0.0, *(step["noise"] or 0.0 for step in steps.heads)]
    noise.append(noise[-1])
    low = [score - error for score, error in zip(y, noise, strict=True)]
    high = [score + error for score, error in zip(y, noise, strict=True)]
    panel.fill_between(x, low, high, step="post", color=tone, alpha=0.18, linewidth=0)
    panel.step(x, y, where="post", color=tone, linewidth=1.6, label=name)


def _mark(panel: Axes, tone: str, steps: list[dict[str, Any]]) -> None:
    """Mark kept changes of an island, with a star what is in the consensus."""
    for marker, size, claimed in (("o", 26, False), ("*", 90, True)):
        own = [step for step in steps if step["claimed"] is claimed]
        at = [step["experiment"] for step in own], [step["score"] for step in own]
        panel.scatter(*at, s=size, marker=marker, color=tone, zorder=3)


def _name(
    panel: Axes, theme: Theme, marked: list[dict[str, Any]], best: list[dict[str, Any]]
) -> None:
    """Write numbers at the changes that are marked; the legend says what the best are."""
    for step in marked:
        at = (step["experiment"], step["score"])
        style: dict[str, Any] = {"color": theme.text, "fontsize": 8, "ha": "right"}
        panel.annotate(
            f"#{step['experiment']}", at, xytext=(-4, 6), textcoords="offset points", **style
        )
    for step in sorted(best, key=lambda step: step["experiment"]):
        gain = "" if step["gain"] is None else Gain(step["gain"], step["noise"], 0).format()
        star = " (consensus)" if step["claimed"] else ""
        text = f"#{step['experiment']} {short(step['hypothesis'])}: {gain}{star}"
        panel.plot([], [], linestyle="none", label=text)


def _limits(base: float, heads: list[float], tried: list[float]) -> tuple[float, float]:
    """Return the lowest and highest score that are shown: around base and heads.

    Broken candidates lie far outside, and would flatten the rest. Where nothing was kept, the
    middle nine tenths of all scores are shown.
    """
    order = sorted([*tried, base])
    cut = len(order) // 20
    shown = [base, *heads] if heads else [base, order[cut], order[-1 - cut]]
    low, high = min(shown), max(shown)
    margin = 0.5 * (high - low) or abs(base) * 0.01 or 1.0
    return low - margin, high + margin
