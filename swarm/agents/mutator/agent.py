"""The built-in agent: no model, no key, a search that learns from every attempt."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from islands.records import Attempt, Brief, Entry, Proposal
from swarm.agents.base import AgentError
from swarm.agents.mutator.memory import Memory
from swarm.agents.mutator.moves import Move, Moves
from swarm.agents.mutator.source import splice
from swarm.agents.mutator.survey import Survey, survey
from swarm.agents.mutator.tuning import Tuning


class Mutator:
    """Edits the genome's syntax tree where that is most likely to pay."""

    def __init__(self, name: str = "mutator", tuning: Tuning | None = None) -> None:
        self.name = name
        self._memory = Memory()
        self._tuning = tuning or Tuning()

    async def propose(self, brief: Brief) -> Proposal:
        """Answer `brief`. Raises AgentError ("unapplied") where nothing is left to change."""
        return self.answer(brief)

    def answer(self, brief: Brief) -> Proposal:
        surveys = _surveys(brief.genome)
        for attempt in brief.recent:
            self._memory.note_tried(attempt)
        head = _digest(brief.genome)
        moves = Moves(brief, surveys, self._memory, head, self._tuning)
        for move in moves.ranked():
            files = _files(move, surveys)
            if files:
                return Proposal(_words(move), files, _notes(move, head, moves.unit))
        raise AgentError("unapplied", "nothing to change")

    def learn(self, attempt: Attempt) -> None:
        """Take in how an experiment ended."""
        self._memory.take(attempt)


def _surveys(genome: Mapping[str, str]) -> dict[str, Survey]:
    found = ((path, survey(path, text)) for path, text in sorted(genome.items()))
    return {path: one for path, one in found if one is not None}


def _files(move: Move, surveys: Mapping[str, Survey]) -> dict[str, Entry | None]:
    files: dict[str, Entry | None] = {}
    for path in sorted({edit.path for edit in move.edits}):
        text = splice(surveys[path].source, tuple(e for e in move.edits if e.path == path))
        if text is None:
            return {}
        files[path] = Entry(text.encode())
    return files


def _notes(move: Move, head: str, unit: float) -> dict[str, str | float]:
    notes: dict[str, str | float] = {
        "kind": move.kind, "head": head, "edit": move.edit, "unit": unit, "hope": move.hope,
    }  # fmt: skip
    for count, part in enumerate(move.parts, 1):
        suffix = "" if count == 1 else f" {count}"
        notes |= {
            f"site{suffix}": part.site,
            f"from{suffix}": part.old,
            f"to{suffix}": part.new,
            f"mean{suffix}": part.forecast.mean,
            f"variance{suffix}": part.forecast.variance,
        }
        if part.start is not None and part.end is not None:
            notes |= {f"start{suffix}": part.start, f"end{suffix}": part.end}
    return notes


def _words(move: Move) -> str:
    return move.words or "; ".join(f"{part.name}: {part.old} to {part.new}" for part in move.parts)


def _digest(genome: Mapping[str, str]) -> str:
    joined = "\0".join(f"{path}\0{text}" for path, text in sorted(genome.items()))
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()[:16]
