"""Moves: what the mutator may propose, and their form as a proposal's notes.

The notes go out with the proposal and come back with its attempt. The mutator learns from them
alone, so a resumed run knows what the one before it knew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from swarm.agents.mutator.source import Edit
from swarm.agents.mutator.surrogate import Forecast

MoveKind = Literal["number", "option", "term", "statement", "swap", "cross", "joint"]

Notes = Mapping[str, str | float]

MAX_PARTS = 8


@dataclass(frozen=True, slots=True)
class MovePart:
    """One site's part of a move: old and new value as text; for a number, places on its scale."""

    site: str
    old: str
    new: str
    forecast: Forecast
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """A possible proposal. `merit`: expected improvement times the chance to run.

    `description`: what it does, as a commit's subject; `details`: why, for the commit's body.
    """

    kind: MoveKind
    parts: tuple[MovePart, ...]
    edits: tuple[Edit, ...]
    merit: float
    description: str
    details: str = ""

    @property
    def hypothesis(self) -> str:
        """The description, and below it the details."""
        return f"{self.description}\n\n{self.details}".rstrip()

    @property
    def edit_id(self) -> str:
        """What the move does, whatever the head: the same for equal moves on different heads."""
        return " & ".join(sorted(f"{part.site}={part.new}" for part in self.parts))


@dataclass(frozen=True, slots=True)
class MoveRecord:
    """A past move, as read from its notes."""

    kind: str
    head: str
    edit_id: str
    unit: float
    parts: tuple[MovePart, ...]


def to_notes(move: Move, head: str, unit: float) -> dict[str, str | float]:
    """Return the notes of `move`; the keys of its second part are `site 2` and so on."""
    notes: dict[str, str | float] = {"kind": move.kind, "head": head, "edit": move.edit_id}
    notes |= {"unit": unit, "hope": move.merit}
    for part, suffix in zip(move.parts, _SUFFIXES, strict=False):
        notes |= {f"site{suffix}": part.site, f"from{suffix}": part.old, f"to{suffix}": part.new}
        notes |= {f"mean{suffix}": part.forecast.mean, f"variance{suffix}": part.forecast.variance}
        if part.start is not None and part.end is not None:
            notes |= {f"start{suffix}": part.start, f"end{suffix}": part.end}
    return notes


def from_notes(notes: Notes) -> MoveRecord | None:
    """Return the move recorded in `notes`; None if another agent wrote them."""
    if not {"kind", "head", "edit", "unit", "site"} <= notes.keys():
        return None
    parts = tuple(_part(notes, suffix) for suffix in _SUFFIXES if f"site{suffix}" in notes)
    kind, head, edit = (str(notes[name]) for name in ("kind", "head", "edit"))
    return MoveRecord(kind, head, edit, float(notes["unit"]), parts)


def sites_of(notes: Notes) -> tuple[str, ...]:
    """Return the sites of the move recorded in `notes`; () if another agent wrote them."""
    record = from_notes(notes)
    return tuple(part.site for part in record.parts) if record else ()


_SUFFIXES = ("", *(f" {count}" for count in range(2, MAX_PARTS + 1)))


def _part(notes: Notes, suffix: str) -> MovePart:
    site, old, new = (str(notes[f"{name}{suffix}"]) for name in ("site", "from", "to"))
    mean, variance = (float(notes[f"{name}{suffix}"]) for name in ("mean", "variance"))
    forecast = Forecast(mean, variance, 0.0)
    if f"end{suffix}" not in notes:
        return MovePart(site, old, new, forecast)
    start, end = (float(notes[f"{name}{suffix}"]) for name in ("start", "end"))
    return MovePart(site, old, new, forecast, start, end)
