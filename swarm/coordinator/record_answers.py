"""Answers agents that ask, while they work, what was tried and whether their files would run.

A search is by words, not by a regular expression: one that an agent writes can take for ever. It
reads hypotheses and the changed lines of candidates, the latest MAX_ATTEMPTS (islands/state/
attempts.py). A preflight is the admission that a proposal meets, without an event.

Not covered: an agent that has a file of its own for each of many variants can learn by preflights
which of them run, as it can by proposals; it learns no score.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from analysis.questions.tried import changed_lines
from harness.contract import one_line
from islands.ratchet.ladder import released, step
from islands.records import Brief, Entry
from islands.state.attempts import EndedAttempt
from islands.state.population import Experiment
from swarm.agents.llm.prompt import quoted
from swarm.agents.questions import MAX_WORDS_CHARS
from swarm.coordinator.candidates import CandidateMaker
from swarm.coordinator.interfaces import BranchStore
from swarm.coordinator.run import Run

MAX_SHOWN = 12
"""Experiments that one answer shows: the latest."""

MAX_REASON_CHARS = 160

MAX_ANSWER_CHARS = 6_000

MAX_LINES_CHARS = 4_000
"""Characters of a candidate's changed lines that a search reads."""

MAX_HELD = 5_000
"""Candidates whose changed lines are held in memory."""


@dataclass(slots=True)
class RecordAnswers:
    """The run as its agents may ask it; agents are made before the run, which is set later."""

    run: Run | None = None
    _lines: OrderedDict[str, str] = field(default_factory=OrderedDict, repr=False)
    """Changed lines by candidate, in lower case."""

    _preflights: int = 0
    _one: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    """Held by the one question that reads git, or runs a preflight."""

    async def tried(self, words: str) -> str:
        """Return the experiments whose hypothesis or changed lines hold the words, as text."""
        fits = fitting(words)
        if fits is None:
            return "give one word or more, such as: tried learning rate"
        run = self._opened()
        ended = list(run.state.attempts)
        async with self._one:
            await run.offload(self._read_lines, run.branches, ended)
        found = [
            one
            for one in ended
            if fits(f"{one.attempt.hypothesis.lower()}\n{self._lines.get(one.commit, '')}")
        ]
        open_ = [one for one in _open(run) if fits(one.hypothesis.lower())]
        by = step(run.state.scores.noise())
        lines = [
            *(
                f"#{one.number} on island {one.island}: being tried now: {quoted(one.hypothesis)}"
                for one in open_
            ),
            *(attempt_line(one, by, run.state.quarantines.commits) for one in found),
        ]
        if not lines:
            return "nothing like this was tried in this run"
        more = [f"and {len(lines) - MAX_SHOWN} older ones"] if len(lines) > MAX_SHOWN else []
        return "\n".join([*lines[:MAX_SHOWN], *more])[:MAX_ANSWER_CHARS]

    async def preflight(self, brief: Brief, files: Mapping[str, Entry | None]) -> str:
        """Return whether these changed files could be proposed on the brief's head, and run."""
        run = self._opened()
        if not files:
            return "nothing is changed"
        island = next(one for one in run.launch.islands if one.name == brief.island)
        async with self._one:
            self._preflights += 1
            told = await CandidateMaker(run, island).try_out(
                brief.experiment, self._preflights, brief.head, files
            )
        return told[:MAX_ANSWER_CHARS]

    def _read_lines(self, branches: BranchStore, ended: Iterable[EndedAttempt]) -> None:
        """Read the changed lines of the candidates that are not held yet."""
        new = [(one.parent, one.commit) for one in ended if one.commit]
        new = [pair for pair in new if pair[1] not in self._lines][:MAX_HELD]
        for commit, diff in (branches.diffs(new) if new else {}).items():
            changed = "\n".join(line[1:] for line in changed_lines(diff))
            self._lines[commit] = changed[:MAX_LINES_CHARS].lower()
        for _, commit in new:
            self._lines.setdefault(commit, "")
        while len(self._lines) > MAX_HELD:
            self._lines.popitem(last=False)

    def _opened(self) -> Run:
        if self.run is None:
            raise ValueError("an agent asked before the run was assembled")
        return self.run


def fitting(words: str) -> Callable[[str], bool] | None:
    """Return whether a text in lower case holds all words of an alternative; None: no words.

    `|` separates alternatives.
    """
    each = [part.split() for part in one_line(words, MAX_WORDS_CHARS).lower().split("|")]
    alternatives = [terms for terms in each if terms]
    if not alternatives:
        return None
    return lambda text: any(all(term in text for term in terms) for terms in alternatives)


def _open(run: Run) -> list[Experiment]:
    """Return the experiments under way that agents may know of."""
    islands = run.state.islands.values()
    both = [one for island in islands for one in (island.experiment, *island.queue)]
    return [one for one in both if one is not None and not one.null]


def attempt_line(one: EndedAttempt, by: float, invalid: Iterable[str]) -> str:
    """Return an experiment in a line, its gain rounded as in briefs."""
    attempt = one.attempt
    where = f"#{attempt.experiment} on island {attempt.island}"
    if {one.commit, one.parent} & {*invalid}:
        return f"{where}: found invalid later: {quoted(attempt.hypothesis)}"
    gain = f", gain {released(attempt.gain, by).format()}" if attempt.gain else ""
    kept = attempt.ending == "kept"
    reason = "" if kept else f" because {quoted(attempt.reason, MAX_REASON_CHARS)}"
    return f"{where}: {attempt.ending}{gain}: {quoted(attempt.hypothesis)}{reason}"
