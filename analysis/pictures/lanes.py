"""Slices as lanes: which trial ran where and when, by purpose, and which of them were void."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.pictures.source import RunSource
from analysis.pictures.style import Theme, colour, label, legend, panels, say_nothing

_TOTALS = """
WITH timed AS (
  SELECT slice, purpose, epoch(ended) - epoch(started) AS seconds,
    epoch(ended) - min(epoch(started)) OVER () AS until
  FROM trials WHERE ended IS NOT NULL
)
SELECT purpose, sum(seconds) AS seconds, max(max(until)) OVER () AS length,
  sum(count(*)) OVER () AS trials
FROM timed GROUP BY purpose
"""

_SLICES = "SELECT DISTINCT slice FROM trials WHERE ended IS NOT NULL ORDER BY slice"

_SPANS = """
SELECT slice, purpose, state = 'voided' AS void, failure IS NOT NULL AS failed,
  epoch(started) - (SELECT min(epoch(started)) FROM trials) AS start,
  epoch(ended) - epoch(started) AS seconds
FROM trials WHERE ended IS NOT NULL ORDER BY slice, started
"""

_DENSE_SPANS = f"""
WITH spans AS ({_SPANS}), strips AS (
  SELECT slice, floor(start / $width) * $width AS start, purpose, void, failed,
    sum(seconds) AS seconds
  FROM spans GROUP BY ALL
)
SELECT slice, purpose, void, failed, start,
  greatest($width / 2, least($width, sum(strips.seconds) OVER strip)) AS seconds
FROM strips
WINDOW strip AS (PARTITION BY slice, start)
QUALIFY row_number() OVER (strip ORDER BY strips.seconds DESC, purpose) = 1
ORDER BY slice, start
"""  # noqa: S608 - a constant above
"""Strips of a lane, of `width` seconds: each looks as most of its trials do, and is as long as they
took, or half a strip, so that it shows."""

_ORDER = ("baseline", "screen", "confirm", "sentinel", "stack", "ablation", "promotion")

MAX_TRIALS = 10_000
"""Trials up to which each is drawn; of more, STRIPS strips of each lane are."""

STRIPS = 1_000

MAX_SPANS = 2_000
"""Spans of a lane up to which an SVG holds each as a shape; above, they are one bitmap in it."""

_HOUR_S, _MINUTE_S = 3600.0, 60.0


def draw(source: RunSource, figure: Figure, theme: Theme) -> None:
    """Draw one lane a slice; void trials are hatched, failed ones are pale."""
    (panel,) = panels(figure, theme)
    totals = source.rows(_TOTALS)
    if not totals:
        say_nothing(panel, theme, "no trial has ended yet")
        return
    slices = [row["slice"] for row in source.rows(_SLICES)]
    length, taken = totals[0]["length"], {row["purpose"]: row["seconds"] for row in totals}
    dense = totals[0]["trials"] > MAX_TRIALS
    rows = source.rows(_DENSE_SPANS, {"width": length / STRIPS}) if dense else source.rows(_SPANS)
    spans = defaultdict[tuple[str, str], list[dict[str, Any]]](list)
    for row in rows:
        spans[row["purpose"], row["slice"]].append(row)
    unit, name = (_HOUR_S, "hours") if length > 2 * _HOUR_S else (_MINUTE_S, "minutes")
    for place, purpose in enumerate(_ORDER):
        if purpose not in taken:
            continue
        share = taken[purpose] / (length * len(slices))
        panel.barh([0], [0], color=colour(place), label=f"{purpose} {share:.0%}")
        for lane, slice_ in enumerate(slices):
            _lane(panel, lane, spans[purpose, slice_], colour(place), unit)
    panel.set_yticks(range(len(slices)), slices)
    panel.set_ylim(-0.6, len(slices) - 0.1 + 0.15 * len(slices))
    busy = sum(taken.values()) / (length * len(slices))
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
            if row["void"] == void and (void or row["failed"] == failed)
        ]
        look: dict[str, Any] = {"facecolors": tone, "alpha": 0.45 if failed else 1.0}
        if void:
            look = {"facecolors": "none", "edgecolors": tone, "hatch": "////"}
        if spans:
            panel.broken_barh(spans, (lane - 0.35, 0.7), rasterized=len(spans) > MAX_SPANS, **look)
