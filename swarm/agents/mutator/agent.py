"""The mutator agent: parses the head, ranks its moves, proposes the first that applies."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from islands.genome.languages import language_of
from islands.records import Attempt, Brief, Change, Entry, Proposal
from swarm.agents.base import AgentError
from swarm.agents.mutator.crossover import find_crossover
from swarm.agents.mutator.descriptions import taken_over
from swarm.agents.mutator.history import MoveHistory
from swarm.agents.mutator.moves import to_notes
from swarm.agents.mutator.parsed_file import ParsedFile, parse_file
from swarm.agents.mutator.priors import SearchParameters
from swarm.agents.mutator.search import Search
from swarm.agents.mutator.source import Edit, splice


class Mutator:
    """Agent that edits the genome's syntax tree where its forecasts promise a gain.

    A proposal is a function of the brief and of the attempts learned so far. Its cost does not
    grow with their number. `parameters` are varied by benchmarks only.
    """

    def __init__(
        self,
        name: str = "mutator",
        parameters: SearchParameters | None = None,
        history: MoveHistory | None = None,
    ) -> None:
        """Share `history` with the mutators of the run's other islands, if it is given."""
        self.name = name
        self._history = history or MoveHistory()
        self._parameters = parameters or SearchParameters()

    async def propose(self, brief: Brief) -> Proposal:
        """Return a proposal for `brief`. Raises AgentError ("exhausted") if nothing is left to try.

        A change to be ported is merged as crossover.py says; AgentError ("unapplied") if it does
        not fit.
        """
        return self.propose_now(brief)

    def propose_now(self, brief: Brief) -> Proposal:
        """Do what `propose` does, without a coroutine."""
        surveys = _parse_files(brief.genome, brief.device)
        if brief.port is not None:
            return _port(brief.port, surveys)
        for attempt in brief.recent:
            if not attempt.claimed:
                self._history.mark_tried(attempt.notes)
        self._history.claim(claim.notes for claim in brief.claims)
        for pending in brief.pending:
            self._history.mark_tried(pending.notes)
        head = _genome_digest(brief.genome)
        for exhaustive in (False, True):
            parameters = replace(self._parameters, exhaustive=exhaustive)
            search = Search(brief, surveys, self._history, head, parameters)
            for move in search.ranked():
                files = _changed_files(move.edits, surveys)
                if files:
                    return Proposal(move.hypothesis, files, to_notes(move, head, search.unit))
        raise AgentError("exhausted", _why_nothing(search))

    def learn(self, attempt: Attempt) -> None:
        """Record how an experiment ended."""
        self._history.record(attempt)


def _why_nothing(search: Search) -> str:
    """Return why there is nothing left to try, in a line."""
    values, edits = len(search.sites), len(search.structural_edits)
    if not values and not edits:
        return (
            "the mutator knows no edit of this genome: it sets numbers (no small ones inside of"
            " functions), flags and listed alternatives, and drops or swaps what can go of Python"
            " functions"
        )
    return (
        f"all edits of this head are tried or known to break it: {values} values,"
        f" {edits} statements and terms"
    )


def _port(change: Change, surveys: Mapping[str, ParsedFile]) -> Proposal:
    crossover = find_crossover(change, surveys)
    sites = {site.id: site for file in surveys.values() for site in file.sites}
    edits = crossover.edits_for(sites) if crossover is not None else ()
    files = _changed_files(edits, surveys)
    if not files:
        raise AgentError("unapplied", "the change does not fit this code: it conflicts")
    return Proposal(f"{taken_over(change)}\n\nPorted from island {change.island}.", files)


def _parse_files(genome: Mapping[str, str], device: str) -> dict[str, ParsedFile]:
    """Return the files that can be edited, with the sites that matter on this kind of device.

    Beside code, the numbers of a plain text are most likely no parameters: only its listed
    alternatives count.
    """
    parsed = ((path, parse_file(path, text)) for path, text in sorted(genome.items()))
    files = {
        path: file._replace(
            sites=tuple(site for site in file.sites if not device or site.device in ("", device))
        )
        for path, file in parsed
        if file is not None
    }
    plain = {path for path in genome if language_of(path).kind == "plain"}
    if len(plain) == len(genome):
        return files
    return {
        path: file._replace(sites=tuple(site for site in file.sites if site.options))
        if path in plain
        else file
        for path, file in files.items()
    }


def _changed_files(
    edits: Sequence[Edit], surveys: Mapping[str, ParsedFile]
) -> dict[str, Entry | None]:
    """Return the changed files; {} if the edits do not apply or change nothing."""
    files: dict[str, Entry | None] = {}
    for path in sorted({edit.path for edit in edits}):
        of_file = tuple(edit for edit in edits if edit.path == path)
        data = splice(surveys[path].source, of_file)
        if data is None:
            return {}
        files[path] = Entry(data)
    return files


def _genome_digest(genome: Mapping[str, str]) -> str:
    joined = "\0".join(f"{path}\0{text}" for path, text in sorted(genome.items()))
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()[:16]
