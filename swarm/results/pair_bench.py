"""A bench: commits scored in pairs on this machine's slices, outside of any run's record."""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from harness import fingerprint as identity
from harness.contract import Direction, HarnessError, Rung, SandboxKind, SetupError, Slice, Trial
from islands.git.branches import Branches
from islands.ratchet.noise import gain_of
from islands.records import Gain
from swarm.executors.base import ExecutorConfig, VoidError
from swarm.executors.local import LocalExecutor
from swarm.executors.slices import discover
from swarm.project.program import Program


@dataclass(frozen=True, slots=True)
class Pair:
    """The scores of both commits on one seed, and the gain of the new one."""

    seed: int
    old: float
    new: float
    gain: float


@dataclass(frozen=True, slots=True)
class Job:
    """A pair of trials to run: both commits on one seed."""

    old: str
    new: str
    seed: int


@dataclass(frozen=True, slots=True)
class PairPlan:
    """What a bench measures by.

    repo: the repository
    program: program.md, which names the task, the entry and the slices
    data, rung, direction, genome: what is run
    folder: where genomes and trials are kept; emptied first
    problem: folder of the frozen problem, "" for a task that needs none
    harness: folder of the harness's copies
    """

    repo: Path
    program: Program
    data: str
    rung: Rung
    direction: Direction
    genome: tuple[str, ...]
    folder: Path
    problem: str
    harness: Path


class PairBench:
    """The slices of this machine, and the exported genomes of the commits."""

    def __init__(self, plan: PairPlan, commits: Collection[str], sandbox: SandboxKind) -> None:
        self._plan, self._sandbox = plan, sandbox
        settings = plan.program.settings
        self._slices = discover(settings.slices)
        shutil.rmtree(plan.folder, ignore_errors=True)
        branches = Branches(plan.repo, "measure", plan.genome)
        for commit in commits:
            branches.export(commit, plan.folder / commit)
        config = ExecutorConfig(
            settings.task,
            plan.data,
            sandbox,
            settings.slices.max_foreign_cpu,
            plan.problem,
        )
        self.executor = LocalExecutor(identity.export(plan.harness), config, self._slices)

    async def pairs(
        self, jobs: Sequence[Job], log: Callable[[str], None]
    ) -> dict[Job, Pair | SetupError]:
        """Run all jobs, each slice taking the next one when it is free.

        Returns the pair of each job, or why one of its commits has no score. Raises HarnessError
        where a trial could not be measured.
        """
        queue, pairs = list(reversed(jobs)), dict[Job, Pair | SetupError]()
        broken: list[HarnessError] = []

        async def work(slice_: Slice) -> None:
            while queue:
                job = queue.pop()
                # alternate the order, so that drift of the slice favours neither commit
                order = [job.old, job.new][:: 1 if len(queue) % 2 else -1]
                try:
                    scores = {one: await self._score(one, job.seed, slice_) for one in order}
                except SetupError as error:
                    pairs[job] = error
                    log(str(error))
                    continue
                except HarnessError as error:  # a task group would wrap it
                    broken.append(error)
                    queue.clear()
                    return
                old, new = scores[job.old], scores[job.new]
                gain = gain_of(old, new, self._plan.direction)
                pairs[job] = Pair(job.seed, old, new, gain)
                log(f"{job.new[:10]} seed {job.seed}: {old:.5g} and {new:.5g}, gain {gain:+.5f}")

        async with asyncio.TaskGroup() as group:
            for slice_ in self._slices:
                group.create_task(work(slice_))
        if broken:
            raise broken[0]
        return pairs

    async def _score(self, commit: str, seed: int, slice_: Slice) -> float:
        plan = self._plan
        trial = Trial(
            id=f"{slice_.name}-{seed}",
            task=plan.program.settings.task,
            data=plan.data,
            commit=commit,
            seed=seed,
            rung=plan.rung,
            slice=slice_,
            genome=str(plan.folder / commit),
            entry=plan.program.entry,
            scratch=str(plan.folder / "trials"),
            sandbox=self._sandbox,
            problem=plan.problem,
        )
        try:
            outcome = await self.executor.run(trial)
        except VoidError as error:
            raise HarnessError(f"{commit[:10]} could not be measured: {error}") from error
        if outcome.score is None:
            reason = outcome.failure.reason if outcome.failure else "no reason given"
            raise SetupError(f"{commit[:10]} has no score on seed {seed}: {reason}")
        return outcome.score


def paired_gain(pairs: Iterable[Pair | SetupError]) -> Gain | None:
    """Return the mean of paired gains with its lfsr, None if a pair has no score."""
    gains = []
    for pair in pairs:
        if isinstance(pair, SetupError):
            return None
        gains.append(pair.gain)
    if len(gains) < 2:  # noqa: PLR2004 - one pair says nothing of its noise
        return Gain(gains[0], math.inf, 1, 0.5)
    mean, noise = fmean(gains), stdev(gains) / math.sqrt(len(gains))
    return Gain(mean, noise, len(gains), _lfsr(mean, noise, len(gains) - 1))


def _lfsr(mean: float, noise: float, degrees: int) -> float:
    """Return the chance that the true gain is zero or less, by Student's t."""
    from scipy.special import stdtr  # noqa: PLC0415 - a quarter of a second

    if noise == 0:
        return 0.5 if mean == 0 else float(mean < 0)
    return float(stdtr(degrees, -mean / noise))
