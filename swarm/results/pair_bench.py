"""A bench: commits scored in pairs on this machine's slices, outside of any run's record."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from harness.contract import HarnessError, SetupError, Slice
from islands.ratchet.noise import gain_of
from islands.records import Gain, decimal
from swarm.executors.base import VoidError
from swarm.executors.workbench import Workbench


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
class PairBench:
    """Commits in pairs of trials, on all slices of an open workbench."""

    bench: Workbench

    async def pairs(
        self, jobs: Sequence[Job], log: Callable[[str], None]
    ) -> dict[Job, Pair | SetupError]:
        """Run all jobs, each slice taking the next one when it is free.

        Returns the pair of each job, or why one of its commits has no score. Raises HarnessError
        where a trial could not be measured.
        """
        queue, pairs = list(reversed(jobs)), dict[Job, Pair | SetupError]()
        broken, direction = list[HarnessError](), self.bench.task.direction

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
                gain = gain_of(old, new, direction)
                pairs[job] = Pair(job.seed, old, new, gain)
                shown = f"{old:.5g} and {new:.5g}, gain {decimal(gain, 5, '+')}"
                log(f"{job.new[:10]} seed {job.seed}: {shown}")

        async with asyncio.TaskGroup() as group:
            for slice_ in self.bench.slices:
                group.create_task(work(slice_))
        if broken:
            raise broken[0]
        return pairs

    async def _score(self, commit: str, seed: int, slice_: Slice) -> float:
        trial = self.bench.trial(f"{slice_.name}-{seed}", commit, seed, slice_)
        try:
            outcome = await self.bench.run(trial)
        except VoidError as error:
            raise HarnessError(f"{commit[:10]} could not be measured: {error}") from error
        if outcome.score is None:
            reason = outcome.failure.reason if outcome.failure else "no reason given"
            raise SetupError(f"{commit[:10]} has no score on seed {seed}: {reason}")
        return outcome.score


def paired_gain(pairs: Iterable[Pair | SetupError]) -> Gain | None:
    """Return the mean of paired gains with its lfsr, None if a pair has no score."""
    scored: list[Pair] = []
    for pair in pairs:
        if isinstance(pair, SetupError):
            return None
        scored.append(pair)
    return gain_of_pairs(scored)


def gain_of_pairs(pairs: Sequence[Pair]) -> Gain:
    """Return the mean of paired gains, its standard error and its lfsr."""
    gains = [pair.gain for pair in pairs]
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
