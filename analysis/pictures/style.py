"""Look of all pictures: two themes, colours that colour-blind people can tell apart, and sizes.

The colours are those of Okabe & Ito, "Color Universal Design" (2008), with the yellow left out: it
cannot be read on white.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

_Corner = Literal["upper left", "upper right", "lower right"]

SIZE_INCHES: Final = (9.0, 4.6)
"""At 100 dots an inch as wide as a README's column."""

DPI: Final = 150

_LABEL: Final = 0.22
"""Inches that the name of an axis takes, with its distance from the ticks' labels."""

_TICKS: Final = 0.26
"""Inches that the labels below a panel take."""

_LINE: Final = 0.2
"""Inches that a line of a title takes."""

_GAP: Final = 0.12
"""Inches between what is written and the picture's edge, or the panel's."""

_RIGHT: Final = 0.2
"""Inches right of a panel: half of the last tick's label."""

MAX_TITLE: Final = 60
"""Characters of a title's line: bars with names beside them take three fifths of the width."""

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#999999")


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of a picture.

    background, text: of the page and of everything written
    faint: of what is in the background: discarded candidates, grids
    strong: of what matters most: the claimed line
    """

    background: str
    text: str
    faint: str
    strong: str


LIGHT: Final = Theme("#ffffff", "#24292f", "#afb8c1", "#000000")
DARK: Final = Theme("#0d1117", "#c9d1d9", "#484f58", "#ffffff")


def colour(place: int) -> str:
    """Return the colour of the island, agent or purpose at `place`; they repeat after seven."""
    return COLOURS[place % len(COLOURS)]


def island_names(islands: Sequence[str]) -> list[str]:
    """Return what a legend says of each island's line: where colours repeat, one stands for all."""
    if len(islands) <= len(COLOURS):
        return list(islands)
    return [f"each of {len(islands)} islands", *("" for _ in islands[1:])]


def panels(figure: Figure, theme: Theme, count: int = 1) -> list[Axes]:
    """Return `count` axes side by side on `figure`, dressed in `theme`."""
    figure.set_facecolor(theme.background)
    grid = figure.subplots(1, count, squeeze=False)
    axes = [panel for panel in grid[0] if isinstance(panel, Axes)]
    for panel in axes:
        dress(panel, theme)
    return axes


def dress(panel: Axes, theme: Theme) -> None:
    """Give `panel` the colours of `theme`."""
    panel.set_facecolor(theme.background)
    panel.tick_params(colors=theme.text, labelsize=8)
    for side, spine in panel.spines.items():
        spine.set_color(theme.faint)
        spine.set_visible(side in {"left", "bottom"})
    panel.grid(visible=True, color=theme.faint, alpha=0.25, linewidth=0.6)
    panel.set_axisbelow(True)


def label(panel: Axes, theme: Theme, x: str, y: str, title: str) -> None:
    """Write the names of both axes, and what the panel shows."""
    panel.set_xlabel(x, color=theme.text, fontsize=9)
    panel.set_ylabel(y, color=theme.text, fontsize=9)
    panel.set_title(textwrap.fill(title, MAX_TITLE), color=theme.text, fontsize=10, loc="left")


def legend(panel: Axes, theme: Theme, place: _Corner, columns: int = 1) -> None:
    """Add a legend if anything on the panel has a name."""
    if panel.get_legend_handles_labels()[0]:
        look: dict[str, Any] = {"frameon": False, "labelcolor": theme.text, "columnspacing": 1.2}
        panel.legend(**look, loc=place, ncols=columns, fontsize=8, handlelength=1.4)


def place(figure: Figure) -> None:
    """Place the panels of `figure` side by side, each as wide as the names at its left allow.

    Only these vary in size. matplotlib's own layouts measure every text twice, which takes as long
    as drawing the picture.
    """
    width, height = figure.get_size_inches()
    share = width / len(figure.axes)
    for at, panel in enumerate(figure.axes):
        names = [name.get_window_extent().width for name in panel.get_yticklabels()]
        left = max(names, default=0.0) / figure.dpi + (_LABEL if panel.get_ylabel() else 0.0) + _GAP
        bottom = _TICKS + _LABEL if panel.get_xlabel() else _GAP
        top = _LINE * (panel.get_title("left").count("\n") + 1) + _GAP
        corner = ((at * share + left) / width, bottom / height)
        panel.set_position(
            (*corner, (share - left - _RIGHT) / width, (height - bottom - top) / height)
        )


def say_nothing(panel: Axes, theme: Theme, why: str) -> None:
    """Write on an empty panel why there is nothing to see."""
    panel.grid(visible=False)
    panel.set_xticks([])
    panel.set_yticks([])
    style: dict[str, Any] = {"color": theme.text, "ha": "center", "va": "center"}
    panel.text(0.5, 0.5, why, transform=panel.transAxes, fontsize=10, **style)
