"""The lineage of what was kept: one row an island, arrows where a change came from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from analysis.pictures.source import RunSource, short
from analysis.pictures.style import Theme, colour, label, panels, say_nothing

_KEPT = """
SELECT node, parent, island, experiment, hypothesis, gain, noise, epoch(ended) AS at,
  quarantined IS NOT NULL AS quarantined
FROM nodes WHERE ending = 'kept' ORDER BY ended
"""

_Point: TypeAlias = tuple[float, float]

_ARROWS = """
SELECT source, target FROM edges WHERE kind IN ('migrated', 'ported', 'crossed_with')
"""


_ADOPTED = """
SELECT heads.island, head FROM heads JOIN nodes ON node = head
WHERE ending = 'kept' AND nodes.island <> heads.island
"""
"""Islands whose head another one made."""

MAX_NAMES = 60
"""Kept changes up to which each is named; of more, the twelve that gained most."""

_BEST = 12


def draw(source: RunSource, figure: Figure, theme: Theme) -> None:
    """Draw kept changes from left to right in the order in which they were kept."""
    (panel,) = panels(figure, theme)
    rows, islands = source.rows(_KEPT), source.islands()
    if not rows:
        say_nothing(panel, theme, "nothing has been kept yet")
        return
    place = {row["node"]: (at + 1, islands.index(row["island"])) for at, row in enumerate(rows)}
    points = list(place.values())
    tones = [
        theme.faint if row["quarantined"] else colour(y)
        for row, (_, y) in zip(rows, points, strict=True)
    ]
    lines = [
        (place.get(row["parent"], (0, at[1])), at) for row, at in zip(rows, points, strict=True)
    ]
    panel.add_collection(LineCollection(lines, colors=tones, linewidths=1.5, zorder=1))
    size = 60 if len(rows) <= MAX_NAMES else 12
    panel.scatter([x for x, _ in points], [y for _, y in points], s=size, color=tones, zorder=3)
    for row in _named(rows):
        _name(panel, theme, row, *place[row["node"]])
    _arrows(
        panel,
        theme,
        [
            (place[edge["source"]], place[edge["target"]])
            for edge in source.rows(_ARROWS)
            if edge["source"] in place and edge["target"] in place
        ],
    )
    adopted = {row["island"]: row["head"] for row in source.rows(_ADOPTED)}
    _adopted(panel, theme, islands, place, adopted)
    panel.scatter([0] * len(islands), range(len(islands)), marker="s", color=theme.text, s=30)
    panel.set_yticks(range(len(islands)), islands)
    panel.set_ylim(-0.6, len(islands) - 0.1)
    panel.set_xlim(-0.5, len(rows) + 2.0)
    panel.set_xticks([])
    what = "kept changes, in order; dashed: came from another island; ring: its head, adopted"
    if len(rows) > MAX_NAMES:
        what += f"; the {_BEST} that gained most of {len(rows):,} are named"
    label(panel, theme, what, "", "lineage")


def _adopted(
    panel: Axes,
    theme: Theme,
    islands: list[str],
    place: Mapping[str, _Point],
    heads: Mapping[str, str],
) -> None:
    """Draw a ring on an island's row below or above the head that it adopted, and a dashed line."""
    pairs = [(place[head], (place[head][0], islands.index(name))) for name, head in heads.items()]
    look: dict[str, Any] = {"colors": theme.text, "linestyles": "--", "linewidths": 0.5}
    panel.add_collection(LineCollection(pairs, zorder=2, **look))
    rings = [ring for _, ring in pairs]
    panel.scatter(
        [x for x, _ in rings],
        [y for _, y in rings],
        s=60,
        facecolors="none",
        edgecolors=theme.text,
        zorder=3,
    )


def _named(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if len(rows) <= MAX_NAMES:
        return rows
    return sorted(rows, key=lambda row: -(row["gain"] or 0.0))[:_BEST]


def _arrows(panel: Axes, theme: Theme, pairs: list[tuple[_Point, _Point]]) -> None:
    """Draw a dashed arrow for each pair of points; of many, lines without heads, at once."""
    if len(pairs) > MAX_NAMES:
        look: dict[str, Any] = {"colors": theme.text, "linestyles": "--", "linewidths": 0.5}
        panel.add_collection(LineCollection(pairs, alpha=0.5, zorder=2, **look))
        return
    for source, target in pairs:
        arrow = {"arrowstyle": "->", "color": theme.text, "linestyle": "--", "shrinkB": 6}
        panel.annotate("", target, source, arrowprops=arrow)


def _name(panel: Axes, theme: Theme, row: dict[str, Any], x: int, y: int) -> None:
    gain = "" if row["gain"] is None else f" {row['gain']:+.3g}"
    text = f"#{row['experiment']}{gain}\n{short(row['hypothesis'])}"
    style: dict[str, Any] = {"color": theme.text, "fontsize": 7, "rotation": 20, "ha": "left"}
    panel.annotate(text, (x, y), xytext=(2, 8), textcoords="offset points", **style)
