"""The agent: reads the head, lets the search rank the moves, proposes the first that applies."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from islands.records import Attempt, Brief, Change, Entry, Proposal
from swarm.agents.base import AgentError
from swarm.agents.mutator.crossover import crossing
from swarm.agents.mutator.history import MoveHistory
from swarm.agents.mutator.moves import write
from swarm.agents.mutator.parsed_file import ParsedFile, survey
from swarm.agents.mutator.priors import MovePriors
from swarm.agents.mutator.search import Search
from swarm.agents.mutator.source import Edit, splice


class Mutator:
    """Edits the genome's syntax tree where that is most likely to pay.

    What it proposes follows from the brief and from the attempts it has learned, and from nothing
    else; what a proposal costs does not grow with their number. `tuning` is for laboratories.
    """

    def __init__(self, name: str = "mutator", tuning: MovePriors | None = None) -> None:
        self.name = name
        self._memory = MoveHistory()
        self._tuning = tuning or MovePriors()

    async def propose(self, brief: Brief) -> Proposal:
        """Answer `brief`. Raises AgentError ("unapplied") where nothing is left to change.

        A change that is to be ported is merged site by site (see cross.py), or it is not.
        """
        return self.answer(brief)

    def answer(self, brief: Brief) -> Proposal:
        """Answer `brief` at once, as `propose` does."""
        surveys = _surveys(brief.genome)
        if brief.port is not None:
            return _ported(brief.port, surveys)
        for attempt in brief.recent:
            self._memory.mark(attempt.notes)
        for pending in brief.pending:
            self._memory.mark(pending.notes)
        head = _digest(brief.genome)
        search = Search(brief, surveys, self._memory, head, self._tuning)
        for move in search.ranked():
            files = _files(move.edits, surveys)
            if files:
                return Proposal(move.words, files, write(move, head, search.unit))
        raise AgentError("unapplied", "nothing to change")

    def learn(self, attempt: Attempt) -> None:
        """Take in how an experiment ended."""
        self._memory.take(attempt)


def _ported(change: Change, surveys: Mapping[str, ParsedFile]) -> Proposal:
    found = crossing(change, surveys)
    sites = {site.id: site for one in surveys.values() for site in one.sites}
    edits = found.onto(sites) if found is not None else ()
    files = _files(edits, surveys)
    if not files:
        raise AgentError("unapplied", "the change does not fit this code: it conflicts")
    return Proposal(f"Port from {change.island}: {change.hypothesis}", files)


def _surveys(genome: Mapping[str, str]) -> dict[str, ParsedFile]:
    found = ((path, survey(path, text)) for path, text in sorted(genome.items()))
    return {path: one for path, one in found if one is not None}


def _files(edits: Sequence[Edit], surveys: Mapping[str, ParsedFile]) -> dict[str, Entry | None]:
    """Return the changed files, none where the edits do not apply or change nothing."""
    files: dict[str, Entry | None] = {}
    for path in sorted({edit.path for edit in edits}):
        here = tuple(edit for edit in edits if edit.path == path)
        data = splice(surveys[path].source, here)
        if data is None:
            return {}
        files[path] = Entry(data)
    return files


def _digest(genome: Mapping[str, str]) -> str:
    joined = "\0".join(f"{path}\0{text}" for path, text in sorted(genome.items()))
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()[:16]
