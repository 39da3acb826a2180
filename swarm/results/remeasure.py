"""Measures commits again, paired on fresh seeds: what a kept gain is worth outside the run."""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev

from git import GitCommandError, Repo

from harness import fingerprint as identity
from harness.contract import HarnessError, SandboxKind, SetupError, Slice, Trial
from islands.git.branches import Branches
from islands.ratchet.noise import gain_of
from islands.records import Gain
from islands.rng import seed_of
from islands.state.population import KeptChange
from islands.state.run_state import State
from swarm.executors.base import ExecutorConfig, VoidError
from swarm.executors.local import LocalExecutor
from swarm.executors.require_sandbox import require_sandbox
from swarm.executors.slices import discover
from swarm.project.repository import load_program
from swarm.project.runs import RunFolder, load_state, require_stopped


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
    sandbox: SandboxKind = "namespaces",
) -> Remeasured:
    """Measure `commit` and `against` on `seeds` fresh seeds in `sandbox`, a pair on one slice.

    Raises SetupError where a commit is unknown, fails, or the harness has moved.
    """
    require_stopped(folder)
    state = load_state(folder)
    new = _commit(folder.repo, commit) if commit else best(state)
    old = _commit(folder.repo, against) if against else state.run.base
    (result,) = await _measured(folder, state, [(old, new)], seeds, tell, sandbox)
    return result


async def remeasure_kept(
    folder: RunFolder,
    seeds: int,
    tell: Callable[[str], None],
    *,
    sandbox: SandboxKind = "namespaces",
) -> list[tuple[KeptChange, Remeasured]]:
    """Measure each kept change and the head that it was kept on; otherwise as `remeasure`."""
    require_stopped(folder)
    state = load_state(folder)
    kept = list(state.keeps.values())
    if not kept:
        raise SetupError(f"run {folder.name} has kept nothing: `swarm launch` goes on with it")
    both = [(each.parent, each.commit) for each in kept]
    return list(zip(kept, await _measured(folder, state, both, seeds, tell, sandbox), strict=True))


async def _measured(  # noqa: PLR0913, PLR0917  # as above
    folder: RunFolder,
    state: State,
    both: list[tuple[str, str]],
    seeds: int,
    tell: Callable[[str], None],
    sandbox: SandboxKind,
) -> list[Remeasured]:
    """Measure the old and the new commit of each of `both`."""
    require_sandbox(sandbox)
    bench = _Bench(folder, state, {commit for each in both for commit in each}, sandbox)
    todo = [seed_of(state.run.seed, "remeasure", k) for k in range(seeds)]
    jobs = [_Job(old, new, seed) for old, new in both for seed in todo]
    async with bench.executor:
        if bench.executor.harness != state.run.harness:
            raise SetupError(
                f"the harness has moved: run {state.run.run} was scored by {state.run.harness},"
                f" this one is {bench.executor.harness}; check out the harness of that run"
            )
        found = await bench.pairs(jobs, tell)
    return [
        Remeasured(
            new,
            old,
            state.run.metric,
            state.run.harness,
            tuple(found[_Job(old, new, seed)] for seed in todo),
        )
        for old, new in both
    ]


def _commit(repo: Path, name: str) -> str:
    try:
        return str(Repo(repo).git.rev_parse("--verify", "--quiet", f"{name}^{{commit}}"))
    except GitCommandError:
        raise SetupError(f"no commit {name!r} in {repo}") from None


@dataclass(frozen=True, slots=True)
class _Job:
    """A pair that is to be measured."""

    old: str
    new: str
    seed: int


class _Bench:
    """The slices, and the commits' genomes exported for them."""

    def __init__(
        self, folder: RunFolder, state: State, commits: set[str], sandbox: SandboxKind
    ) -> None:
        self._state, self._sandbox = state, sandbox
        program = load_program(folder.repo, state.run.base)
        self._entry = program.entry
        self._slices = discover(program.settings.slices)
        self._scratch = folder.remeasure
        shutil.rmtree(self._scratch, ignore_errors=True)
        branches = Branches(folder.repo, state.run.run, state.run.genome)
        for commit in commits:
            branches.export(commit, self._scratch / commit)
        home = identity.export(folder.harness)
        terms = ExecutorConfig(
            state.run.task, state.run.data, sandbox, program.settings.slices.max_foreign_cpu
        )
        self.executor = LocalExecutor(home, terms, self._slices)

    async def pairs(self, jobs: list[_Job], tell: Callable[[str], None]) -> dict[_Job, Pair]:
        """Return the pairs, the slices taking the next job as they come free."""
        left, found = list(reversed(jobs)), dict[_Job, Pair]()

        async def work(where: Slice) -> None:
            while left:
                job = left.pop()
                order = [job.old, job.new][:: 1 if len(left) % 2 else -1]
                scores = {commit: await self._score(commit, job.seed, where) for commit in order}
                old, new = scores[job.old], scores[job.new]
                gain = gain_of(old, new, self._state.direction)
                found[job] = Pair(job.seed, old, new, gain)
                tell(f"{job.new[:10]} seed {job.seed}: {old:.5g} and {new:.5g}, gain {gain:+.5f}")

        async with asyncio.TaskGroup() as group:
            for where in self._slices:
                group.create_task(work(where))
        return found

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
            sandbox=self._sandbox,
        )
        try:
            outcome = await self.executor.run(trial)
        except VoidError as error:
            raise HarnessError(f"{commit[:10]} could not be measured: {error}") from error
        if outcome.score is None:
            why = outcome.failure.reason if outcome.failure else ""
            raise SetupError(f"{commit[:10]} has no score on seed {seed}: {why}")
        return outcome.score
