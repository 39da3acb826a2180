"""Every kind of picture, and how one is written to a file or to SVG text."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from analysis.pictures import bars, gains, lanes, progress, promotions, tree
from analysis.pictures.source import RunSource
from analysis.pictures.style import DARK, DPI, LIGHT, SIZE_INCHES, Theme, place
from harness.contract import SetupError


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of picture: what it shows, and what draws it."""

    about: str
    draw: Callable[[RunSource, Figure, Theme], None]


KINDS: Final[Mapping[str, Kind]] = {
    "progress": Kind("every candidate, and each island's head as a staircase", progress.draw),
    "gain": Kind("gain over the base by slice hours and dollars", gains.draw),
    "ablation": Kind("what the best stack loses without each change", bars.draw_ablation),
    "lineage": Kind("what was kept, island by island", tree.draw),
    "promotion": Kind("gain at the next rung against gain below", promotions.draw),
    "slices": Kind("which trial ran where and when", lanes.draw),
    "cost": Kind("where slice time and dollars went", bars.draw_cost),
}

FORMATS: Final = ("svg", "png", "pdf")

_STYLE: Final[Any] = {"svg.fonttype": "none", "svg.hashsalt": "swarm", "font.family": "sans-serif"}
"""Text stays text in SVG, and the same run gives the same bytes."""


def figure(kind: str, source: RunSource, *, dark: bool = False) -> Figure:
    """Return the picture of `kind`. Raises KeyError for an unknown kind."""
    drawn = Figure(figsize=SIZE_INCHES)
    KINDS[kind].draw(source, drawn, DARK if dark else LIGHT)
    place(drawn)
    return drawn


def save(kind: str, source: RunSource, path: Path, *, dark: bool = False) -> None:
    """Write the picture in the format of the suffix of `path`.

    Raises SetupError for another format, and where the file cannot be written.
    """
    if path.suffix.lstrip(".").lower() not in FORMATS:
        raise SetupError(f"--out {path}: end the name in .{', .'.join(FORMATS)}")
    try:
        with mpl.rc_context(_STYLE):
            figure(kind, source, dark=dark).savefig(path, dpi=DPI, metadata=_metadata(path.suffix))
    except OSError as error:
        raise SetupError(f"--out {path}: {error.strerror}") from None


def svg(kind: str, source: RunSource, *, dark: bool = False) -> str:
    """Return the picture as an `<svg>` element without a fixed size, to be put into a page."""
    out = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure(kind, source, dark=dark).savefig(out, format="svg", metadata=_metadata(".svg"))
    text = out.getvalue()
    text = text[text.index("<svg") :]
    return re.sub(
        r'<svg([^>]*?) height="[^"]*"([^>]*?) width="[^"]*"', r"<svg\1\2", _sized(text), count=1
    )


def _sized(text: str) -> str:
    """Return `text` with height before width in its first tag, as matplotlib may write either."""
    return re.sub(
        r'^<svg([^>]*?) width="([^"]*)"([^>]*?) height="([^"]*)"',
        r'<svg\1 height="\4"\3 width="\2"',
        text,
        count=1,
    )


def _metadata(suffix: str) -> dict[str, None]:
    """Return what keeps today's date out of the file."""
    return {"Date": None} if suffix.lower() == ".svg" else {}
