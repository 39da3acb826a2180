"""Rendering of the pages: templates that escape everything, and filters for untrusted text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis.dashboard.keeps import ListedKeep
from analysis.questions.target import gain_of_row
from analysis.report.render import inert
from analysis.times import moment
from analysis.untrusted_text import cut, first_line
from islands.records import NULL, Gain

NOTHING: Final = "\N{EN DASH}"
"""What stands where there is no number."""

MAX_LINE: Final = 160
"""Characters of a hypothesis in a list."""

_NAMES: Final[Mapping[str, str]] = {NULL: "null proposals (control)", "run": "the run itself"}


def environment() -> Environment:
    """Return the environment of the page's templates."""
    env = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    env.filters |= {
        "line": line,
        "inert": inert,
        "gain": _gain,
        "pm": lambda row, name: _gain({"gain": row[name], "noise": row[f"{name}_noise"]}),
        "score": lambda value: NOTHING if value is None else f"{value:.6g}",
        "usd": lambda value: f"${value:,.2f}",
        "agent": lambda name: _NAMES.get(name, name),
        "short": lambda commit: (commit or "")[:8],
        "ratio": lambda value: NOTHING if value is None else f"{value:.3g}",
        "share": lambda value: NOTHING if value is None else f"{value:.0%}",
        "when": lambda time: NOTHING if time is None else moment(time),
        "clock": lambda time: f"{time:%H:%M:%S}",
        "number": lambda value: f"{value:,}",
        "diff_lines": diff_lines,
    }
    return env


def kept_line(env: Environment, run: str, change: ListedKeep, places: Mapping[str, int]) -> str:
    """Return a kept change as the first page of the run lists it: an <li>.

    places: the islands' colours
    """
    made: Any = env.get_template("macros.html.j2").module
    return str(made.kept_line(f"/runs/{run}", asdict(change), places))


def line(text: str | None) -> str:
    """Return the first line of untrusted text, cut to MAX_LINE."""
    return cut(first_line(text or ""), MAX_LINE)


def diff_lines(diff: str) -> Iterator[tuple[str, str]]:
    """Yield each line of a unified diff with what it is: file, hunk, added, removed or same."""
    body = False
    for text in inert(diff).rstrip("\n").split("\n"):
        if text.startswith("diff --git "):
            body = False
        body = body or text.startswith("@@")
        if text.startswith("@@"):
            yield "hunk", text
        elif not body:
            yield "file", text
        else:
            yield {"+": "added", "-": "removed"}.get(text[:1], "same"), text


def _gain(row: Mapping[str, Any], prefix: str = "") -> str:
    """Return the gain and its standard error in the columns of a row."""
    facts = {"gain": row[f"{prefix}gain"], "noise": row[f"{prefix}noise"]}
    gain = gain_of_row(facts)
    return gain.format() if isinstance(gain, Gain) else NOTHING
