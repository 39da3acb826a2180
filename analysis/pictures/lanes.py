"""Slices as lanes: which trial ran where and when, by purpose, and which of them were void."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.pictures.source import RunSource
from analysis.pictures.style import Theme, colour, label, legend, panels, say_nothing

_TRIALS = """
SELECT slice, purpose, state, failure IS NOT NULL AS failed,
  epoch(started) - (SELECT min(epoch(started)) FROM trials) AS start,
  epoch(ended) - epoch(started) AS seconds
FROM trials WHERE ended IS NOT NULL ORDER BY slice, started
"""

_ORDER = ("baseline", "screen", "confirm", "sentinel", "stack", "ablation", "promotion")

MAX_SPANS = 2_000
"""Trials of a lane up to which an SVG holds each as a shape; above, they are one bitmap in it."""

_HOUR_S, _MINUTE_S = 3600.0, 60.0


def draw(source: RunSource, figure: Figure, theme: Theme) -> None:
    """Draw one lane a slice; void trials are hatched, failed ones are dark."""
    (panel,) = panels(figure, theme)
    rows = source.rows(_TRIALS)
    if not rows:
        say_nothing(panel, theme, "no trial has ended yet")
        return
    slices = sorted({row["slice"] for row in rows})
    length = max(row["start"] + row["seconds"] for row in rows)
    unit, name = (_HOUR_S, "hours") if length > 2 * _HOUR_S else (_MINUTE_S, "minutes")
    for place, purpose in enumerate(_ORDER):
        own = [row for row in rows if row["purpose"] == purpose]
        if own:
            share = sum(row["seconds"] for row in own) / (length * len(slices))
            panel.barh([0], [0], color=colour(place), label=f"{purpose} {share:.0%}")
        for lane, slice_ in enumerate(slices):
            _lane(panel, lane, [row for row in own if row["slice"] == slice_], colour(place), unit)
    panel.set_yticks(range(len(slices)), slices)
    panel.set_ylim(-0.6, len(slices) - 0.1 + 0.15 * len(slices))
    busy = sum(row["seconds"] for row in rows) / (length * len(slices))
    label(
        panel,
        theme,
        f"{name} since the first trial",
        "",
        f"slices ran trials {busy:.0%} of the time",
    )
    legend(panel, theme, "upper left", columns=len(_ORDER))


def _lane(panel: Axes, lane: int, rows: list[dict[str, Any]], tone: str, unit: float) -> None:
    """Draw one slice's trials of one purpose."""
    for void, failed in ((False, False), (False, True), (True, False)):
        spans = [
            (row["start"] / unit, row["seconds"] / unit)
            for row in rows
            if (row["state"] == "voided") == void and (void or row["failed"] == failed)
        ]
        look: dict[str, Any] = {"facecolors": tone, "alpha": 0.45 if failed else 1.0}
        if void:
            look = {"facecolors": "none", "edgecolors": tone, "hatch": "////"}
        if spans:
            panel.broken_barh(spans, (lane - 0.35, 0.7), rasterized=len(spans) > MAX_SPANS, **look)
