"""Words that agree with a number."""

from __future__ import annotations


def plural(count: int, noun: str) -> str:
    """Return "1 change", "2 changes"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
