"""In-memory ledger, branches, agents and executor of a simulated run.

The genome is a Python file that holds changes, one a line; a change has the number of the
experiment that proposed it. Other lines do nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from harness.contract import CheckResult, Failure, Outcome, Slice, Trial
from islands import events as ev
from islands.records import Attempt, Brief, Entry, Proposal
from islands.rng import seed_of
from swarm.simulation.world import Sample, World

GENOME = "genome/changes.py"

HARNESS = "laboratory"

_FIRST = "hold()  # a change a line\n"

_CHANGE = re.compile(r"^hold\((\d+)\)$", re.MULTILINE)

Genome = Mapping[str, Entry]


class MemoryLedger:
    """Events in a list, stamped with the loop's time."""

    def __init__(self) -> None:
        self.recorded: list[ev.Event] = []

    def append(self, event: ev.Event) -> ev.Event:
        """Record `event`; return it with its time."""
        stamped = replace(event, recorded=asyncio.get_running_loop().time())
        self.recorded.append(stamped)
        return stamped

    def events(self) -> Iterator[ev.Event]:
        """Return what has been recorded, in order."""
        return iter(tuple(self.recorded))


class MemoryBranches:
    """Commits, numbered in the order in which they were made, and the changes in each.

    - `parents`: parent of every commit but the base
    """

    def __init__(self) -> None:
        self._genomes: dict[str, Genome] = {}
        self._changes: dict[str, tuple[int, ...]] = {}
        self._tried: dict[int, str] = {}
        self._heads: dict[str, str] = {}
        self.parents: dict[str, str] = {}
        self.base = self._add({GENOME: Entry(_FIRST.encode())})

    def changes(self, commit: str) -> tuple[int, ...]:
        """Return the changes that `commit` holds."""
        return self._changes[commit]

    def branch(self, island: str) -> str:
        """Return the name of an island's branch."""
        return f"swarm/simulated/{island}"

    def files(self, commit: str) -> Genome:
        """Return the genome's files in `commit` by path."""
        return self._genomes[commit]

    def export(self, commit: str, into: Path) -> None:
        """Write nothing: simulated trials read no files."""

    def commit(
        self,
        parent: str,
        files: Mapping[str, Entry | None],
        message: str,  # noqa: ARG002 - no commit message is read here
        experiment: int,
        when: int,  # noqa: ARG002 - commits have no time here
    ) -> str:
        """Commit `files` on `parent` for an experiment; return the commit's id."""
        after = {**self._genomes[parent], **files}
        commit = self._add({path: entry for path, entry in after.items() if entry is not None})
        self._tried[experiment], self.parents[commit] = commit, parent
        return commit

    def commit_under_ref(
        self,
        name: str,  # noqa: ARG002 - a simulated run is never resumed, so no ref is looked up
        parent: str,
        files: Mapping[str, Entry | None],
        message: str,  # noqa: ARG002 - no commit message is read here
        when: int,  # noqa: ARG002 - commits have no time here
    ) -> str:
        """Commit `files` on `parent`; return the commit's id."""
        after = {**self._genomes[parent], **files}
        commit = self._add({path: entry for path, entry in after.items() if entry is not None})
        self.parents[commit] = parent
        return commit

    def apply_change(self, parent: str, commit: str, onto: str) -> dict[str, Entry | None]:
        """Return the files of `onto` with what `commit` changed since `parent`, {} if it has that.

        Nothing conflicts.
        """
        before, after, target = map(self.changes, (parent, commit, onto))
        removed, added = set(before).difference(after), set(after).difference(before)
        remaining = [change for change in target if change not in removed]
        changed = [*remaining, *sorted(added.difference(remaining))]
        if changed == list(target):
            return {}
        lines = "".join(f"hold({change})\n" for change in changed)
        return {GENOME: Entry((_FIRST + lines).encode())}

    def diff(self, old: str, new: str) -> str:
        """Return the changes that `new` has beyond `old`, a line each."""
        before = set(self._changes[old])
        return "".join(f"+{change}\n" for change in self._changes[new] if change not in before)

    def diffs(self, pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Return what `diff` does for each pair, by the second commit."""
        return {new: self.diff(old, new) for old, new in pairs}

    def tried(self, experiment: int) -> str | None:
        """Return the commit of an experiment, None where it made none."""
        return self._tried.get(experiment)

    def numstat(self, old: str, new: str) -> tuple[int, int]:
        """Return how many changes `new` adds to and removes from `old`."""
        before, after = set(self._changes[old]), set(self._changes[new])
        return len(after - before), len(before - after)

    def advance(self, island: str, new: str, old: str) -> None:
        """Move an island's branch from `old` to `new`."""
        if self._heads.get(island, "") != old:
            raise ValueError(f"{island} is at {self._heads.get(island)}, not at {old}")
        self._heads[island] = new

    def sync_branches(self, heads: Mapping[str, str]) -> None:
        """Make the islands' branches agree with the ledger."""
        self._heads.update(heads)

    def pack_candidates(self, base: str) -> None:
        """Do nothing: there are no refs."""

    def _add(self, genome: Genome) -> str:
        commit = f"{len(self._genomes) + 1:040x}"
        self._genomes[commit] = genome
        changes = _CHANGE.findall(genome[GENOME].data.decode())
        self._changes[commit] = tuple(map(int, changes))
        return commit


class MemoryAgent:
    """Proposes the change with the experiment's number, after `think_s` seconds on average."""

    name = "laboratory"

    def __init__(self, think_s: float) -> None:
        self._think_s = think_s

    async def propose(self, brief: Brief) -> Proposal:
        """Add a line to the genome.

        Thinking times vary: islands that think in step would always meet in one order.
        """
        uneven = 0.5 + seed_of(brief.seed, "think") / 2**31
        await asyncio.sleep(self._think_s * uneven)
        text = f"{brief.genome[GENOME]}hold({brief.experiment})\n"
        return Proposal(f"change {brief.experiment}", {GENOME: Entry(text.encode())})

    def learn(self, attempt: Attempt) -> None:
        """Learn nothing."""


class MemoryExecutor:
    """Slices that take `seconds` for a trial, of a run of `trials` trials."""

    harness = HARNESS

    def __init__(self, world: World, branches: MemoryBranches, seconds: float, trials: int) -> None:
        self._world, self._branches = world, branches
        self._seconds, self._trials = seconds, trials
        self._count = 0
        self._standings = {branches.base: (0.0, False)}

    def current_slice(self, where: Slice) -> Slice:
        """Return `where`: no slice is ever lost here."""
        return where

    async def run(self, trial: Trial) -> Outcome:
        """Score a commit by the world's truth, or fail where one of its changes breaks."""
        count, self._count = self._count, self._count + 1
        await asyncio.sleep(self._seconds)
        worth, broken = self._standing(trial.commit)
        seconds = {"budget": self._seconds}
        if broken:
            failure = Failure("crash", "exit status 1: a change that breaks")
            return Outcome(trial.id, HARNESS, trial.sandbox, failure=failure, seconds=seconds)
        progress = count / self._trials
        sample = Sample(trial.commit, trial.seed, trial.slice.name, count, progress)
        worth += self._world.unevenness(self._branches.changes(trial.commit), trial.seed)
        score = self._world.score(worth, sample)
        return Outcome(trial.id, HARNESS, trial.sandbox, score=score, seconds=seconds)

    async def check(self, trial: Trial) -> CheckResult:  # noqa: ARG002 - every commit passes
        """Pass every commit: no world has checks."""
        return CheckResult(ok=True)

    def _standing(self, commit: str) -> tuple[float, bool]:
        """Return a commit's worth and whether it breaks, by what differs from its parent."""
        standing = self._standings.get(commit)
        if standing is None:
            parent, changes = self._branches.parents[commit], self._branches.changes
            worth, _ = self._standing(parent)
            broken = any(map(self._world.breaks, changes(commit)))
            gain = self._world.gain(changes(parent), changes(commit))
            standing = self._standings[commit] = (worth + gain, broken)
        return standing

    async def __aenter__(self) -> MemoryExecutor:
        """Start nothing."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop nothing."""
