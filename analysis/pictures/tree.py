"""The lineage of what was kept: one row an island, arrows where a change came from elsewhere."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.pictures.source import RunSource, short
from analysis.pictures.style import Theme, colour, label, panels, say_nothing

_KEPT = """
SELECT node, parent, island, experiment, hypothesis, gain, noise, epoch(ended) AS at,
  quarantined IS NOT NULL AS quarantined
FROM nodes WHERE ending = 'kept' ORDER BY ended
"""

_ARROWS = """
SELECT source, target FROM edges WHERE kind IN ('migrated', 'ported', 'crossed_with')
"""


def draw(source: RunSource, figure: Figure, theme: Theme) -> None:
    """Draw kept changes from left to right in the order in which they were kept."""
    (panel,) = panels(figure, theme)
    rows, islands = source.rows(_KEPT), source.islands()
    if not rows:
        say_nothing(panel, theme, "nothing has been kept yet")
        return
    place = {row["node"]: (at + 1, islands.index(row["island"])) for at, row in enumerate(rows)}
    for row in rows:
        x, y = place[row["node"]]
        before = place.get(row["parent"], (0, y))
        tone = theme.faint if row["quarantined"] else colour(y)
        panel.plot([before[0], x], [before[1], y], color=tone, linewidth=1.5, zorder=1)
        panel.scatter([x], [y], s=60, color=tone, zorder=3)
        _name(panel, theme, row, x, y)
    for edge in source.rows(_ARROWS):
        if edge["source"] in place and edge["target"] in place:
            arrow = {"arrowstyle": "->", "color": theme.text, "linestyle": "--", "shrinkB": 6}
            panel.annotate("", place[edge["target"]], place[edge["source"]], arrowprops=arrow)
    panel.scatter([0] * len(islands), range(len(islands)), marker="s", color=theme.text, s=30)
    panel.set_yticks(range(len(islands)), islands)
    panel.set_ylim(-0.6, len(islands) - 0.1)
    panel.set_xlim(-0.5, len(rows) + 2.0)
    panel.set_xticks([])
    label(panel, theme, "kept changes, in order; dashed: came from another island", "", "lineage")


def _name(panel: Axes, theme: Theme, row: dict[str, Any], x: int, y: int) -> None:
    gain = "" if row["gain"] is None else f" {row['gain']:+.3g}"
    text = f"#{row['experiment']}{gain}\n{short(row['hypothesis'])}"
    style: dict[str, Any] = {"color": theme.text, "fontsize": 7, "rotation": 20, "ha": "left"}
    panel.annotate(text, (x, y), xytext=(2, 8), textcoords="offset points", **style)
