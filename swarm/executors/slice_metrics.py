"""Metrics of slices from new trials, alone and beside each other.

metrics = await measure_slices(executor, slices, trial, 3, report)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean, median, stdev

from analysis.questions.slice_metrics import SliceMetrics
from harness.contract import HarnessError, Outcome, SetupError, Slice, Trial
from swarm.executors.base import Executor, VoidError


async def measure_slices(
    executor: Executor,
    slices: Sequence[Slice],
    trial: Trial,
    seeds: int,
    report: Callable[[str], None],
) -> dict[str, SliceMetrics]:
    """Run `trial` once on each slice alone, then on `seeds` seeds on all slices at the same time.

    `report` is called with each step. Raises SetupError if the genome fails, HarnessError if a
    trial is void.
    """
    alone: dict[str, float | None] = {}
    for slice_ in slices if len(slices) > 1 else ():
        report(f"{slice_.name} alone")
        alone[slice_.name] = _speed(await _scored(executor, _on(trial, slice_, trial.seed)))
    beside = list[list[Outcome]]()
    for number in range(seeds):
        report(f"all slices side by side, {number + 1} of {seeds}")
        trials = [_on(trial, slice_, trial.seed + number) for slice_ in slices]
        beside.append(await asyncio.gather(*(_scored(executor, seeded) for seeded in trials)))
    return {
        slice_.name: _metrics(outcomes, alone.get(slice_.name))
        for slice_, outcomes in zip(slices, zip(*beside, strict=True), strict=True)
    }


def _metrics(outcomes: Sequence[Outcome], alone: float | None) -> SliceMetrics:
    """Return the metrics of a slice from its trials beside others, and its speed alone."""
    scores = [outcome.score for outcome in outcomes if outcome.score is not None]
    speeds = [speed for outcome in outcomes if (speed := _speed(outcome)) is not None]
    foreign = [o.facts["foreign_cpu"] for o in outcomes if "foreign_cpu" in o.facts]
    return SliceMetrics(
        trials=len(outcomes),
        sigma=stdev(scores) if len(scores) > 1 else None,
        steps_per_second=median(speeds) if speeds else None,
        steps_per_second_alone=alone,
        foreign_cpu=fmean(foreign) if foreign else None,
        foreign_cpu_worst=max(foreign, default=None),
    )


def _on(trial: Trial, slice_: Slice, seed: int) -> Trial:
    return replace(trial, id=f"{slice_.name}-{seed}", slice=slice_, seed=seed)


async def _scored(executor: Executor, trial: Trial) -> Outcome:
    try:
        outcome = await executor.run(trial)
    except VoidError as error:
        raise HarnessError(f"slice {trial.slice.name} could not be measured: {error}") from error
    if outcome.failure is not None:
        raise SetupError(
            f"the genome fails on slice {trial.slice.name}: {outcome.failure.reason}; fix and"
            " commit it, or give it more time (--seconds)"
        )
    return outcome


def _speed(outcome: Outcome) -> float | None:
    steps, seconds = outcome.claims.get("steps"), outcome.seconds.get("budget")
    return steps / seconds if steps and seconds else None
