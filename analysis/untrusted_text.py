"""Text that agents and candidates wrote, made fit for a terminal, a file or a picture.

Control characters, colours and direction marks are replaced, so that it cannot hide or forge
anything around it.
"""

from __future__ import annotations


def first_line(text: str) -> str:
    """Return the first line of `text`, printable."""
    return printable(next(iter(text.strip().splitlines()), ""))


def cut(text: str, most: int) -> str:
    """Return `text` in at most `most` characters, with an ellipsis where some are left out."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def printable(text: str, keep: str = "") -> str:
    """Return `text` with unprintable characters replaced, except those in `keep`."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in keep else "\N{REPLACEMENT CHARACTER}" for char in text
    )
