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
    return shortened(f"{verb} {label} from {_value(old)} to {_value(new)}")


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
    flat = " ".join(subject.split())
    return flat if len(flat) <= MAX_SUBJECT_CHARS else flat[: MAX_SUBJECT_CHARS - 3] + "..."


def _value(text: str) -> str:
    flat = " ".join(text.split())
    if flat.endswith(".0") and flat[:-2].lstrip("-").isdigit():
        flat = flat[:-2]
    return flat if len(flat) <= MAX_VALUE_CHARS else flat[: MAX_VALUE_CHARS - 3] + "..."
