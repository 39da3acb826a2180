"""Per-slice noise, speed and foreign CPU load, from trials.

    metrics = metrics_by_slice(events)                                  # of a run's ledger
    metrics = await measure_slices(executor, slices, trial, 3, report)  # of new trials of the seed

Sigma is the standard deviation of one commit's scores between seeds, pooled over commits. Speed is
the steps in a second that the base claims, so it compares slices on one commit and nothing else.
Foreign load is counted by the harness (harness/sandbox/monitor/cpu.py).

Not covered: a task whose genome claims no steps has no speed. On whole GPUs the harness voids
trials that shared them (harness/sandbox/monitor/gpu.py); on shared ones only the speed shows it.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, median

from harness.contract import HarnessError, Outcome, SetupError, Slice, Trial
from islands import events as ev
from swarm.executors.base import Executor, VoidError

MAX_FOREIGN_SHARE = 0.03
"""Share of its cores' time that a slice may lose to other programs without a warning."""

MIN_SPEED_SHARE = 0.9
"""Share of its speed alone that a slice must keep beside the others, else there is a warning."""

Group = tuple[str, str, int]
"""Commit, split and rung: trials of one group differ by their seed alone."""


@dataclass(slots=True)
class SliceMetrics:
    """What the trials of one slice show."""

    trials: int = 0
    voids: int = 0
    scores: dict[Group, list[float]] = field(default_factory=lambda: defaultdict(list))
    speeds: list[float] = field(default_factory=list)
    """Steps a second, beside trials on the other slices."""

    speeds_alone: list[float] = field(default_factory=list)
    """Steps a second, with all other slices idle."""

    foreign: list[float] = field(default_factory=list)
    """Shares of the cores' time that other programs took."""

    def add(self, outcome: Outcome, group: Group, *, base: bool) -> None:
        """Add a trial's outcome; `base` says whether it ran the base commit, whose speed counts."""
        self.trials += 1
        if "foreign_cpu" in outcome.facts:
            self.foreign.append(outcome.facts["foreign_cpu"])
        if outcome.score is None:
            return
        self.scores[group].append(outcome.score)
        speed = _speed(outcome)
        if base and speed is not None:
            self.speeds.append(speed)

    @property
    def sigma(self) -> float | None:
        """Standard deviation of scores between seeds, None if no commit has two."""
        repeated = [scores for scores in self.scores.values() if len(scores) > 1]
        degrees = sum(len(scores) - 1 for scores in repeated)
        if not degrees:
            return None
        means = [fmean(scores) for scores in repeated]
        squares = (
            (score - mean) ** 2
            for scores, mean in zip(repeated, means, strict=True)
            for score in scores
        )
        return math.sqrt(math.fsum(squares) / degrees)

    def as_dict(self) -> dict[str, object]:
        """Return the metrics by name; None where there are no trials to tell."""
        return {
            "trials": self.trials,
            "void": self.voids,
            "sigma": self.sigma,
            "steps_per_second": median(self.speeds) if self.speeds else None,
            "steps_per_second_alone": median(self.speeds_alone) if self.speeds_alone else None,
            "foreign_cpu": fmean(self.foreign) if self.foreign else None,
            "foreign_cpu_worst": max(self.foreign, default=None),
        }

    def warnings(self) -> list[str]:
        """Return a line for each sign that other programs or slices disturb this one."""
        taken = fmean(self.foreign) if self.foreign else 0.0
        beside, alone = (
            median(speeds) if speeds else 0.0 for speeds in (self.speeds, self.speeds_alone)
        )
        lines = {
            f"others took {taken:.1%} of its cores' time: stop what else runs on this machine,"
            " or void such trials (slices.max_foreign_cpu)": taken > MAX_FOREIGN_SHARE,
            f"{beside:.3g} steps a second beside the others, {alone:.3g} alone: slices slow each"
            " other down, so ask for fewer (slices.count, slices.shares)": beside
            and beside < MIN_SPEED_SHARE * alone,
            f"{self.voids} of its trials were void: `swarm query` has the reasons": self.voids,
        }
        return [line for line, holds in lines.items() if holds]


def metrics_by_slice(history: Iterable[ev.Event]) -> dict[str, SliceMetrics]:
    """Return the metrics of each slice from a run's events."""
    metrics: dict[str, SliceMetrics] = defaultdict(SliceMetrics)
    base = ""
    for event in history:
        match event:
            case ev.RunOpened():
                base = event.base
            case ev.TrialVoided():
                metrics[event.started.slice].voids += 1
            case ev.TrialEnded():
                started = event.started
                group = started.commit, started.split, started.rung
                metrics[started.slice].add(event.outcome, group, base=started.commit == base)
            case _:
                pass
    return dict(metrics)


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
    metrics = {slice_.name: SliceMetrics() for slice_ in slices}
    for slice_ in slices if len(slices) > 1 else ():
        report(f"{slice_.name} alone")
        speed = _speed(await _scored(executor, _on(trial, slice_, trial.seed)))
        metrics[slice_.name].speeds_alone += [] if speed is None else [speed]
    for number in range(seeds):
        report(f"all slices side by side, {number + 1} of {seeds}")
        trials = [_on(trial, slice_, trial.seed + number) for slice_ in slices]
        outcomes = await asyncio.gather(*(_scored(executor, seeded) for seeded in trials))
        for slice_, outcome in zip(slices, outcomes, strict=True):
            metrics[slice_.name].add(outcome, (trial.commit, trial.split, 0), base=True)
    return metrics


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
