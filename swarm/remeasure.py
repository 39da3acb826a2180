"""Measures two commits again, paired on fresh seeds: what a kept gain is worth outside the run."""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev

from git import GitCommandError, Repo

from analysis.ledger import NAME as LEDGER
from analysis.ledger import read_events, writer
from harness import identity
from harness.contract import HarnessError, SetupError, Slice, Trial
from islands.branches import Branches
from islands.ratchet import seed_of, signed
from islands.records import Gain
from islands.state import State
from swarm.confinement import require
from swarm.executor import LocalExecutor, Terms, VoidError
from swarm.runs import RunFolder
from swarm.slices import discover
from swarm.target import load_program


@dataclass(frozen=True, slots=True)
class Pair:
    """Both commits' scores on one seed, and the gain of the new one."""

    seed: int
    old: float
    new: float
    gain: float


@dataclass(frozen=True, slots=True)
class Remeasured:
    """What came of it; the gain's noise is the pairs' own standard error."""

    commit: str
    against: str
    metric: str
    harness: str
    pairs: tuple[Pair, ...]

    @property
    def gain(self) -> Gain:
        """Return the mean gain with its standard error (infinite for a single pair)."""
        gains = [pair.gain for pair in self.pairs]
        noise = stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else math.inf
        return Gain(fmean(gains), noise, len(gains))

    def as_dict(self) -> dict[str, object]:
        """Return everything as plain data."""
        gain = self.gain
        noise = gain.noise if math.isfinite(gain.noise) else None
        return {**asdict(self), "gain": {"mean": gain.mean, "noise": noise, "pairs": gain.pairs}}


def best(state: State) -> str:
    """Return the head with the largest gain over the base, the base where nothing was kept."""
    heads = [(state.gain(island) or 0.0, island.head) for island in state.islands.values()]
    return max(heads, default=(0.0, state.run.base))[1]


async def remeasure(  # noqa: PLR0913  # what the command line says
    folder: RunFolder,
    commit: str,
    against: str,
    seeds: int,
    tell: Callable[[str], None],
    *,
    tier: int = 2,
) -> Remeasured:
    """Measure `commit` and `against` on `seeds` fresh seeds at `tier`, a pair always on one slice.

    Raises SetupError where a commit is unknown, fails, or the harness has moved.
    """
    running = writer(folder.folder)
    if running is not None:
        raise SetupError(
            f"run {folder.name} is being worked on by process {running}: stop it (Ctrl-C), measure,"
            " and launch again, since two trials on one slice would disturb each other"
        )
    state = State()
    for _, event in read_events(folder.folder / LEDGER):
        state.apply(event)
    new = _commit(folder.repo, commit) if commit else best(state)
    old = _commit(folder.repo, against) if against else state.run.base
    require(tier)
    bench = _Bench(folder, state, old, new, tier)
    todo = [seed_of(state.run.seed, "remeasure", k) for k in range(seeds)]
    async with bench.executor:
        if bench.executor.harness != state.run.harness:
            raise SetupError(
                f"the harness has moved: run {state.run.run} was scored by {state.run.harness},"
                f" this one is {bench.executor.harness}; check out the harness of that run"
            )
        pairs = await bench.pairs(todo, tell)
    return Remeasured(new, old, state.run.metric, state.run.harness, tuple(pairs))


def _commit(repo: Path, name: str) -> str:
    try:
        return str(Repo(repo).git.rev_parse("--verify", "--quiet", f"{name}^{{commit}}"))
    except GitCommandError:
        raise SetupError(f"no commit {name!r} in {repo}") from None


class _Bench:
    """The slices, and both commits' genomes exported for them."""

    def __init__(self, folder: RunFolder, state: State, old: str, new: str, tier: int) -> None:
        self._state, self._old, self._new, self._tier = state, old, new, tier
        program = load_program(folder.repo, state.run.base)
        self._entry = program.entry
        self._slices = discover(program.slices)
        self._scratch = folder.folder / "remeasure"
        shutil.rmtree(self._scratch, ignore_errors=True)
        branches = Branches(folder.repo, state.run.run, state.run.genome)
        for commit in {old, new}:
            branches.export(commit, self._scratch / commit)
        home = identity.export(folder.folder / "harness")
        terms = Terms(state.run.task, state.run.data, tier, program.slices.foreign_cpu)
        self.executor = LocalExecutor(home, terms, self._slices)

    async def pairs(self, seeds: list[int], tell: Callable[[str], None]) -> list[Pair]:
        """Return the pairs by seed, the slices taking the next seed as they come free."""
        left, found = list(reversed(seeds)), dict[int, Pair]()

        async def work(where: Slice) -> None:
            while left:
                seed = left.pop()
                order = [self._old, self._new][:: 1 if len(left) % 2 else -1]
                scores = {commit: await self._score(commit, seed, where) for commit in order}
                old, new = scores[self._old], scores[self._new]
                gain = signed(old, new, self._state.direction)
                found[seed] = Pair(seed, old, new, gain)
                tell(f"seed {seed}: {old:.5g} and {new:.5g}, gain {gain:+.5f}")

        async with asyncio.TaskGroup() as group:
            for where in self._slices:
                group.create_task(work(where))
        return [found[seed] for seed in seeds]

    async def _score(self, commit: str, seed: int, where: Slice) -> float:
        run = self._state.run
        trial = Trial(
            id=f"{where.name}-{seed}",
            task=run.task,
            data=run.data,
            commit=commit,
            seed=seed,
            rung=run.rungs[0],
            slice=where,
            genome=str(self._scratch / commit),
            entry=self._entry,
            scratch=str(self._scratch / "trials"),
            tier=self._tier,
        )
        try:
            outcome = await self.executor.run(trial)
        except VoidError as error:
            raise HarnessError(f"{commit[:10]} could not be measured: {error}") from error
        if outcome.score is None:
            why = outcome.failure.reason if outcome.failure else ""
            raise SetupError(f"{commit[:10]} has no score on seed {seed}: {why}")
        return outcome.score
