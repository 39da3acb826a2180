"""Re-measurement of commits in pairs on fresh seeds: whether a kept gain is real."""

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
from harness.contract import Evidence, HarnessError, SandboxKind, SetupError, Slice, Trial
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
from swarm.project.problem import freeze
from swarm.project.repository import load_program
from swarm.project.runs import RunFolder, load_state, require_stopped


@dataclass(frozen=True, slots=True)
class Pair:
    """The scores of both commits on one seed, and the gain of the new one."""

    seed: int
    old: float
    new: float
    gain: float


@dataclass(frozen=True, slots=True)
class Remeasurement:
    """A commit re-measured against another, pair by pair."""

    commit: str
    against: str
    metric: str
    evidence: Evidence
    harness: str
    pairs: tuple[Pair, ...]

    @property
    def gain(self) -> Gain:
        """The mean gain; its noise is the pairs' standard error (infinite for a single pair)."""
        gains = [pair.gain for pair in self.pairs]
        noise = stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else math.inf
        return Gain(fmean(gains), noise, len(gains))

    def as_dict(self) -> dict[str, object]:
        """Return everything as nested dicts and numbers; the noise of a single pair is infinite."""
        return {**asdict(self), "gain": asdict(self.gain)}


def best(state: State) -> str:
    """Return the head with the largest gain over the base, or the base where nothing was kept."""
    heads = [(state.gain(island) or 0.0, island.head) for island in state.islands.values()]
    return max(heads, default=(0.0, state.run.base))[1]


async def remeasure(  # noqa: PLR0913  # one for each option of the command
    folder: RunFolder,
    commit: str,
    against: str,
    seeds: int,
    log: Callable[[str], None],
    *,
    sandbox: SandboxKind = "namespaces",
) -> Remeasurement:
    """Measure `commit` and `against` on `seeds` fresh seeds in `sandbox`, a pair on one slice.

    `log` gets one line for each pair. Raises SetupError where a commit is unknown or fails, and
    where the harness has changed since the run.
    """
    require_stopped(folder)
    state = load_state(folder)
    new = _commit(folder.repo, commit) if commit else best(state)
    old = _commit(folder.repo, against) if against else state.run.base
    (result,) = await _measure_pairs(folder, state, [(old, new)], seeds, log, sandbox)
    return result


async def remeasure_kept(
    folder: RunFolder,
    seeds: int,
    log: Callable[[str], None],
    *,
    sandbox: SandboxKind = "namespaces",
) -> list[tuple[KeptChange, Remeasurement]]:
    """Measure each kept change against its parent; otherwise as `remeasure`."""
    require_stopped(folder)
    state = load_state(folder)
    kept = list(state.keeps.values())
    if not kept:
        raise SetupError(f"run {folder.name} has kept nothing yet: resume it with `swarm launch`")
    commits = [(change.parent, change.commit) for change in kept]
    return list(
        zip(kept, await _measure_pairs(folder, state, commits, seeds, log, sandbox), strict=True)
    )


async def _measure_pairs(  # noqa: PLR0913, PLR0917  # as above
    folder: RunFolder,
    state: State,
    commits: list[tuple[str, str]],
    seeds: int,
    log: Callable[[str], None],
    sandbox: SandboxKind,
) -> list[Remeasurement]:
    """Measure each pair of an old and a new commit, all pairs on the same seeds."""
    require_sandbox(sandbox, folder.kept)
    bench = _Bench(folder, state, {commit for pair in commits for commit in pair}, sandbox)
    fresh_seeds = [seed_of(state.run.seed, "remeasure", k) for k in range(seeds)]
    jobs = [_Job(old, new, seed) for old, new in commits for seed in fresh_seeds]
    async with bench.executor:
        if bench.executor.harness != state.run.harness:
            raise SetupError(
                f"the harness has changed: run {state.run.run} was scored by {state.run.harness},"
                f" this one is {bench.executor.harness}; check out the harness of that run"
            )
        pairs = await bench.pairs(jobs, log)
    return [
        Remeasurement(
            new,
            old,
            state.run.metric,
            state.run.evidence,
            state.run.harness,
            tuple(pairs[_Job(old, new, seed)] for seed in fresh_seeds),
        )
        for old, new in commits
    ]


def _commit(repo: Path, name: str) -> str:
    try:
        return str(Repo(repo).git.rev_parse("--verify", "--quiet", f"{name}^{{commit}}"))
    except GitCommandError:
        raise SetupError(f"no commit {name!r} in {repo}") from None


@dataclass(frozen=True, slots=True)
class _Job:
    """A pair of trials to run: both commits on one seed."""

    old: str
    new: str
    seed: int


class _Bench:
    """The slices of this machine, and the exported genomes of the commits."""

    def __init__(
        self, folder: RunFolder, state: State, commits: set[str], sandbox: SandboxKind
    ) -> None:
        self._state, self._sandbox = state, sandbox
        program = load_program(folder.repo, state.run.base)
        self._entry = program.entry
        self._slices = discover(program.settings.slices)
        self._scratch = folder.remeasure
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._problem = freeze(folder.repo, state.run.base, program, folder.problem)
        branches = Branches(folder.repo, state.run.run, state.run.genome)
        for commit in commits:
            branches.export(commit, self._scratch / commit)
        harness = identity.export(folder.harness)
        config = ExecutorConfig(
            state.run.task,
            state.run.data,
            sandbox,
            program.settings.slices.max_foreign_cpu,
            self._problem,
        )
        self.executor = LocalExecutor(harness, config, self._slices)

    async def pairs(self, jobs: list[_Job], log: Callable[[str], None]) -> dict[_Job, Pair]:
        """Run all jobs, each slice taking the next one when it is free; return their pairs."""
        queue, pairs = list(reversed(jobs)), dict[_Job, Pair]()

        async def work(slice_: Slice) -> None:
            while queue:
                job = queue.pop()
                # alternate the order, so that drift of the slice favours neither commit
                order = [job.old, job.new][:: 1 if len(queue) % 2 else -1]
                scores = {commit: await self._score(commit, job.seed, slice_) for commit in order}
                old, new = scores[job.old], scores[job.new]
                gain = gain_of(old, new, self._state.direction)
                pairs[job] = Pair(job.seed, old, new, gain)
                log(f"{job.new[:10]} seed {job.seed}: {old:.5g} and {new:.5g}, gain {gain:+.5f}")

        async with asyncio.TaskGroup() as group:
            for slice_ in self._slices:
                group.create_task(work(slice_))
        return pairs

    async def _score(self, commit: str, seed: int, slice_: Slice) -> float:
        run = self._state.run
        trial = Trial(
            id=f"{slice_.name}-{seed}",
            task=run.task,
            data=run.data,
            commit=commit,
            seed=seed,
            rung=run.rungs[0],
            slice=slice_,
            genome=str(self._scratch / commit),
            entry=self._entry,
            scratch=str(self._scratch / "trials"),
            sandbox=self._sandbox,
            problem=self._problem,
        )
        try:
            outcome = await self.executor.run(trial)
        except VoidError as error:
            raise HarnessError(f"{commit[:10]} could not be measured: {error}") from error
        if outcome.score is None:
            reason = outcome.failure.reason if outcome.failure else "no reason given"
            raise SetupError(f"{commit[:10]} has no score on seed {seed}: {reason}")
        return outcome.score
