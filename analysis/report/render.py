"""Rendering of a report: HTML with its pictures inside, or Markdown.

The HTML needs no network and no script. Everything that an agent or a candidate wrote is escaped by
the template engine, and stripped of characters that steer a terminal or the direction of text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analysis.report.facts import ReportFacts
from analysis.untrusted_text import first_line
from analysis.words import plural
from islands.records import Gain

Format = Literal["html", "md"]

MAX_DIFF_CHARS: Final = 20_000
"""Characters of one diff; a change that is longer is cut, and says so."""

_FENCE = re.compile(r"`{3,}")


def shown_pictures(facts: ReportFacts) -> list[str]:
    """Return the kinds of pictures of an HTML report, in order: those that show anything."""
    shown = {
        "progress": facts.screened > 0,
        "gain": bool(facts.changes),
        "ablation": facts.ablation is not None,
        "promotion": bool(facts.contenders),
        "slices": facts.trials > 0,
        "cost": any(agent.usd > 0 for agent in facts.costs),  # the lanes say where time went
    }
    return [kind for kind, worth in shown.items() if worth]


def render(facts: ReportFacts, pictures: Mapping[str, str], to: Format) -> str:
    """Return the report; `pictures` are SVG elements by kind, left out of Markdown."""
    env = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=to == "html",  # noqa: S701 - Markdown is quoted by `line` and `inert`
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    env.filters |= {
        "line": first_line if to == "html" else _table_cell,
        "inert": inert,
        "plural": plural,
        "gain": lambda row: Gain(row["gain"], row["noise"] or 0.0, 0).format(),
        "lower_gain": lambda row: Gain(row["lower_gain"], row["lower_noise"] or 0.0, 0).format(),
    }
    drawn = {kind: Markup(svg) for kind, svg in pictures.items()}  # noqa: S704 - matplotlib's own, which escapes text
    return env.get_template(f"report.{to}.j2").render(f=facts, pictures=drawn)


def inert(text: str) -> str:
    """Return a candidate's text without control and bidirectional characters, cut if too long."""
    kept = "".join(c if c in "\n\t" or _harmless(c) else "\N{REPLACEMENT CHARACTER}" for c in text)
    kept = _FENCE.sub("``\N{ZERO WIDTH SPACE}`", kept)
    if len(kept) <= MAX_DIFF_CHARS:
        return kept
    return kept[:MAX_DIFF_CHARS] + f"\n[cut: {len(kept) - MAX_DIFF_CHARS} more characters]\n"


def _harmless(char: str) -> bool:
    return unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co"}


def _table_cell(text: str) -> str:
    """Return the first line of `text` for a Markdown table: no markup, no cell border."""
    return re.sub(r"([\\`*_{}\[\]<>|#!])", r"\\\1", first_line(text))
