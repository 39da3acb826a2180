"""Excerpts of a genome that is too long for a prompt: files and spans. Pure functions.

All of a genome that fits is shown. Of a longer one, whole files are shown in an order drawn by
chance, so that different proposals see different parts, and a span of the first file that has no
room. A span begins and ends at lines without indentation, where most languages begin a definition.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

MIN_SPAN_CHARS = 1_000
"""Room below which no span is shown: it would say too little."""

HEADING_CHARS = 60
"""Characters that a file's heading and fence take."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Text of a file, and what to say after its path: "" where the whole file is shown."""

    text: str
    label: str = ""
    first: int = 1
    """Number of its first line in the file."""


def excerpts(genome: Mapping[str, str], room: int, draw: random.Random) -> dict[str, Excerpt]:
    """Return what is shown of each file, in the genome's order, in at most `room` characters."""
    if sum(map(len, genome.values())) <= room:
        return {path: Excerpt(text) for path, text in genome.items()}
    shown: dict[str, Excerpt] = {}
    left = room
    for path in draw.sample(list(genome), len(genome)):
        text = genome[path]
        excerpt = Excerpt(text)
        if len(text) > left - HEADING_CHARS:
            if left < MIN_SPAN_CHARS or any(one.label for one in shown.values()):
                continue
            excerpt = _span(text, left - 2 * HEADING_CHARS, draw)
        shown[path] = excerpt
        left -= len(excerpt.text) + HEADING_CHARS
    return {path: shown[path] for path in genome if path in shown}


def _span(text: str, room: int, draw: random.Random) -> Excerpt:
    """Return lines of `text` that fit into `room`, beginning at a place drawn by chance."""
    lines = text.split("\n")
    starts = [n for n, line in enumerate(lines) if line[:1].strip()] or [0]
    tail = len(lines)
    size = 0
    while tail > 0 and size + len(lines[tail - 1]) + 1 <= room:
        tail -= 1
        size += len(lines[tail]) + 1
    # beginning after `tail`, room would be left over
    first = draw.choice([n for n in starts if n <= tail] or [0])
    end, size = first, 0
    while end < len(lines) and size + len(lines[end]) + 1 <= room:
        size += len(lines[end]) + 1
        end += 1
    if end == first:  # one line alone has no room
        part, end = lines[first][:room], first + 1
    else:
        inner = [n for n in starts if first < n <= end]
        end = inner[-1] if end < len(lines) and inner else end
        part = "\n".join(lines[first:end])
    return Excerpt(
        part, f" (lines {first + 1} to {end} of {len(lines)}; the rest is left out)", first + 1
    )
