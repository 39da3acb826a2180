"""The agent: reads the head, lets the search rank the moves, proposes the first that applies."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from islands.records import Attempt, Brief, Change, Entry, Proposal
from swarm.agents.base import AgentError
from swarm.agents.mutator.crossover import find_crossover
from swarm.agents.mutator.history import MoveHistory
from swarm.agents.mutator.moves import to_notes
from swarm.agents.mutator.parsed_file import ParsedFile, parse_file
from swarm.agents.mutator.priors import SearchParameters
from swarm.agents.mutator.search import Search
from swarm.agents.mutator.source import Edit, splice


class Mutator:
    """Edits the genome's syntax tree where that is most likely to pay.

    What it proposes follows from the brief and from the attempts it has learned, and from nothing
    else; what a proposal costs does not grow with their number. `parameters` is for laboratories.
    """

    def __init__(self, name: str = "mutator", parameters: SearchParameters | None = None) -> None:
        self.name = name
        self._history = MoveHistory()
        self._parameters = parameters or SearchParameters()

    async def propose(self, brief: Brief) -> Proposal:
        """Answer `brief`. Raises AgentError ("unapplied") where nothing is left to change.

        A change that is to be ported is merged site by site (see cross.py), or it is not.
        """
        return self.propose_now(brief)

    def propose_now(self, brief: Brief) -> Proposal:
        """Answer `brief` at once, as `propose` does."""
        surveys = _parse_files(brief.genome)
        if brief.port is not None:
            return _port(brief.port, surveys)
        for attempt in brief.recent:
            self._history.mark_tried(attempt.notes)
        for pending in brief.pending:
            self._history.mark_tried(pending.notes)
        head = _genome_digest(brief.genome)
        search = Search(brief, surveys, self._history, head, self._parameters)
        for move in search.ranked():
            files = _changed_files(move.edits, surveys)
            if files:
                return Proposal(move.description, files, to_notes(move, head, search.unit))
        raise AgentError("unapplied", "nothing to change")

    def learn(self, attempt: Attempt) -> None:
        """Take in how an experiment ended."""
        self._history.record(attempt)


def _port(change: Change, surveys: Mapping[str, ParsedFile]) -> Proposal:
    found = find_crossover(change, surveys)
    sites = {site.id: site for one in surveys.values() for site in one.sites}
    edits = found.edits_for(sites) if found is not None else ()
    files = _changed_files(edits, surveys)
    if not files:
        raise AgentError("unapplied", "the change does not fit this code: it conflicts")
    return Proposal(f"Port from {change.island}: {change.hypothesis}", files)


def _parse_files(genome: Mapping[str, str]) -> dict[str, ParsedFile]:
    found = ((path, parse_file(path, text)) for path, text in sorted(genome.items()))
    return {path: one for path, one in found if one is not None}


def _changed_files(
    edits: Sequence[Edit], surveys: Mapping[str, ParsedFile]
) -> dict[str, Entry | None]:
    """Return the changed files, none where the edits do not apply or change nothing."""
    files: dict[str, Entry | None] = {}
    for path in sorted({edit.path for edit in edits}):
        here = tuple(edit for edit in edits if edit.path == path)
        data = splice(surveys[path].source, here)
        if data is None:
            return {}
        files[path] = Entry(data)
    return files


def _genome_digest(genome: Mapping[str, str]) -> str:
    joined = "\0".join(f"{path}\0{text}" for path, text in sorted(genome.items()))
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()[:16]
