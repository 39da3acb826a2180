"""Descriptions of moves, as the subjects of commits: `Raise PUSH from 36 to 120`."""

from __future__ import annotations

from collections.abc import Sequence

from islands.records import Change

MAX_SUBJECT_CHARS = 72
MAX_VALUE_CHARS = 24
"""Characters of a value that a subject shows."""


def value_change(label: str, old: str, new: str, size: tuple[float, float] | None = None) -> str:
    """Return the subject of a change of a value; `size`: both values, if they are numbers."""
    verb = "Change" if size is None else "Raise" if size[1] > size[0] else "Lower"
    before, after = apart(_value(old), _value(new), MAX_VALUE_CHARS)
    return shortened(f"{verb} {label} from {before} to {after}")


def apart(old: str, new: str, most: int) -> tuple[str, str]:
    """Return both texts, each on one line of at most `most` characters that shows the difference.

    Where one is too long, both begin shortly before the first character in which they differ.
    """
    flat = [" ".join(text.split()) for text in (old, new)]
    start = 0
    if max(map(len, flat)) > most:
        pairs = zip(*flat, strict=False)
        same = next((n for n, (a, b) in enumerate(pairs) if a != b), min(map(len, flat)))
        start = max(0, same - most // 3)
    first, second = (cut(f"...{text[start:]}" if start else text, most) for text in flat)
    return first, second


def cut(text: str, most: int) -> str:
    """Return `text` on one line of at most `most` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= most else flat[: most - 3] + "..."


def joined(subjects: Sequence[str]) -> str:
    """Return the subject of several changes made together."""
    first, *rest = subjects
    lowered = [subject[:1].lower() + subject[1:] for subject in rest]
    whole = ", ".join([first, *lowered[:-1]]) + f" and {lowered[-1]}" if rest else first
    if len(whole) <= MAX_SUBJECT_CHARS:
        return whole
    return shortened(f"{first} and {len(rest)} more {'change' if len(rest) == 1 else 'changes'}")


def taken_over(change: Change) -> str:
    """Return the subject of another island's change; it is what it was there."""
    return shortened(change.hypothesis.strip().partition("\n")[0] or "Change")


def shortened(subject: str) -> str:
    """Return `subject` as one line of at most MAX_SUBJECT_CHARS characters."""
    return cut(subject, MAX_SUBJECT_CHARS)


def _value(text: str) -> str:
    flat = " ".join(text.split())
    return flat[:-2] if flat.endswith(".0") and flat[:-2].lstrip("-").isdigit() else flat
