"""Slices as lanes: which trial ran where and when, by purpose, and which of them were void."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from analysis.pictures.source import RunSource
from analysis.pictures.style import Theme, colour, label, legend, panels, say_nothing

_TRIALS = """(
  SELECT trials.* REPLACE (if(cause = 'lost', least(trials.ended,
    greatest(launches.ended, trials.started)), trials.ended) AS ended)
  FROM trials ASOF LEFT JOIN launches ON trials.started >= launches.started
)"""
"""The trials; one that was lost with its coordinator lasted no longer than that."""

_TOTALS = f"""
WITH timed AS (
  SELECT slice, purpose, epoch(ended) - epoch(started) AS seconds,
    epoch(ended) - min(epoch(started)) OVER () AS until
  FROM {_TRIALS} WHERE ended IS NOT NULL
)
SELECT purpose, sum(seconds) AS seconds, max(max(until)) OVER () AS length,
  sum(count(*)) OVER () AS trials
FROM timed GROUP BY purpose
"""  # noqa: S608 - a constant above

_ACTIVE = """
SELECT count(*) AS launches, sum(epoch(least(ended, until)) - epoch(greatest(started, since))) AS s
FROM launches, (SELECT min(started) AS since, max(ended) AS until FROM trials
  WHERE ended IS NOT NULL) WHERE ended > since AND started < until
"""
"""Seconds between the first trial's start and the last one's end in which a coordinator ran."""

_SLICES = "SELECT DISTINCT slice FROM trials WHERE ended IS NOT NULL ORDER BY slice"

_SPANS = f"""
SELECT slice, purpose, state = 'voided' AS void, failure IS NOT NULL AS failed,
  epoch(started) - (SELECT min(epoch(started)) FROM trials) AS start,
  epoch(ended) - epoch(started) AS seconds
FROM {_TRIALS} WHERE ended IS NOT NULL ORDER BY slice, started
"""  # noqa: S608 - a constant above

_STRIPS = f"""
WITH spans AS ({_SPANS}), parts AS (
  SELECT slice, floor(start / $width)::INTEGER AS strip, purpose, void, failed,
    sum(seconds) AS seconds
  FROM spans GROUP BY ALL
)
SELECT slice, strip, purpose, void, failed,
  least(1.0, sum(parts.seconds) OVER whole / $width) AS busy
FROM parts
WINDOW whole AS (PARTITION BY slice, strip)
QUALIFY row_number() OVER (whole ORDER BY parts.seconds DESC, purpose) = 1
"""  # noqa: S608 - a constant above
"""Strips of a lane, of `width` seconds: how busy each was, and what most of its trials were."""

_ORDER = ("baseline", "screen", "confirm", "sentinel", "stack", "ablation", "promotion")

MAX_TRIALS = 10_000
"""Trials up to which each is drawn; of more, STRIPS strips of each lane are."""

STRIPS = 1_000

_LEAST_BUSY = 0.3
"""Strength of the colour of a strip that was hardly busy; a busy one has all of it."""

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
    unit, name = (_HOUR_S, "hours") if length > 2 * _HOUR_S else (_MINUTE_S, "minutes")
    (active,) = source.rows(_ACTIVE)
    ran = (active["s"] or length) * len(slices)
    for place, purpose in enumerate(_ORDER):
        if purpose in taken:
            share = taken[purpose] / ran
            panel.barh([0], [0], color=colour(place), label=f"{purpose} {share:.0%}")
    if totals[0]["trials"] > MAX_TRIALS:
        strips = source.rows(_STRIPS, {"width": length / STRIPS})
        for lane, slice_ in enumerate(slices):
            own = [row for row in strips if row["slice"] == slice_]
            _dense_lane(panel, lane, own, length / unit)
    else:
        _trials(panel, slices, source.rows(_SPANS), unit)
    panel.set_yticks(range(len(slices)), slices)
    panel.set_ylim(-0.6, len(slices) - 0.1 + 0.15 * len(slices))
    busy = sum(taken.values()) / ran
    when = "the time" if active["launches"] <= 1 else f"the time in {active['launches']} launches"
    label(
        panel,
        theme,
        f"{name} since the first trial",
        "",
        f"slices ran trials {busy:.0%} of {when}",
    )
    legend(panel, theme, "upper left", columns=len(_ORDER))


def _dense_lane(panel: Axes, lane: int, strips: list[dict[str, Any]], length: float) -> None:
    """Draw one slice as a row of strips, the paler the less busy, failed and void ones paler."""
    row = [(1.0, 1.0, 1.0, 0.0)] * STRIPS
    for strip in strips:
        strength = _LEAST_BUSY + (1 - _LEAST_BUSY) * strip["busy"]
        strength *= 0.2 if strip["void"] else 0.45 if strip["failed"] else 1.0
        tone = to_rgba(colour(_ORDER.index(strip["purpose"])), strength)
        row[min(strip["strip"], STRIPS - 1)] = tone
    extent = (0.0, length, lane - 0.35, lane + 0.35)
    panel.imshow([row], extent=extent, aspect="auto", interpolation="nearest", zorder=2)


def _trials(panel: Axes, slices: list[str], rows: list[dict[str, Any]], unit: float) -> None:
    """Draw each trial."""
    spans = defaultdict[tuple[str, str], list[dict[str, Any]]](list)
    for row in rows:
        spans[row["purpose"], row["slice"]].append(row)
    for place, purpose in enumerate(_ORDER):
        for lane, slice_ in enumerate(slices):
            _lane(panel, lane, spans[purpose, slice_], colour(place), unit)


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
