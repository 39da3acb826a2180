"""Gain of the best head over the base, against slice hours and against dollars."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.pictures.source import RunSource
from analysis.pictures.style import Theme, colour, island_names, label, legend, panels, say_nothing

_KEPT = """
WITH clock AS (
  SELECT ended, sum(epoch(ended) - epoch(started)) OVER (ORDER BY ended) / 3600 AS hours
  FROM trials WHERE ended IS NOT NULL
), purse AS (
  SELECT recorded, sum(usd) OVER (ORDER BY recorded) AS usd FROM spending
)
SELECT kept.island, kept.ended, kept.step,
  sum(gain) OVER chain AS gain, sqrt(sum(noise ** 2) OVER chain) AS noise,
  coalesce(hours, 0.0) AS hours, coalesce(purse.usd, 0.0) AS usd
FROM kept ASOF LEFT JOIN clock ON kept.ended >= clock.ended
  ASOF LEFT JOIN purse ON kept.ended >= purse.recorded
WINDOW chain AS (PARTITION BY kept.island ORDER BY step)
ORDER BY kept.island, step
"""


MAX_MARKS = 160
"""Changes that are marked, with their standard errors; of more, every n-th of each line."""


def draw(source: RunSource, figure: Figure, theme: Theme) -> None:
    """Draw one line an island: gains add up as they were when kept."""
    rows, run = source.rows(_KEPT), source.run()
    paid = any(row["usd"] for row in rows)
    axes = panels(figure, theme, 2 if paid else 1)
    if not rows:
        say_nothing(axes[0], theme, "nothing has been kept yet")
        return
    islands, every = source.islands(), max(1, -(-len(rows) // MAX_MARKS))
    measures = (("hours", "slice hours"), ("usd", "dollars"))
    for panel, (column, unit) in zip(axes, measures, strict=False):
        for place, (island, name) in enumerate(zip(islands, island_names(islands), strict=True)):
            own = [row for row in rows if row["island"] == island]
            look: dict[str, Any] = {"color": colour(place), "label": name, "errorevery": every}
            _line(panel, own, column, look | {"markevery": every})
        label(panel, theme, unit, f"gain in {run['metric']}", f"gain over the base by {unit}")
    legend(axes[0], theme, "upper left")


def _line(panel: Axes, rows: list[dict[str, Any]], column: str, look: dict[str, Any]) -> None:
    x = [0.0, *(row[column] for row in rows)]
    y = [0.0, *(row["gain"] for row in rows)]
    noise = [0.0, *(row["noise"] or 0.0 for row in rows)]
    panel.errorbar(x, y, noise, drawstyle="steps-post", marker="o", ms=4, capsize=3, **look)
