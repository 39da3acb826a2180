"""What trials say of the slices that they ran on: noise, speed, and what others take of them.

    known = metrics_by_slice(state_folder)                    # from a run's ledger
    known = await gauged(there, slices, trial, 3)   # by trials of the seed genome, run for this

Sigma is the spread of one commit's scores between seeds, pooled over commits. Speed is the steps in
a second that the base claims: of one commit it compares slices, and nothing else. What others take
is the harness's own count (harness/sandbox/monitor/cpu.py).

Not covered: a task whose genome claims no steps has no speed. On GPUs of their own the harness
voids trials that had company (harness/sandbox/monitor/gpu.py), and on shared ones company is the
rule:
there only the speed tells.
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
"""Share of a slice's cores that others may take before a person is told; see `foreign_cpu`."""

MIN_SPEED_SHARE = 0.9
"""Share of its speed alone that a slice must keep beside the others before a person is told."""

Group = tuple[str, str, int]
"""Trials whose scores differ by seed alone: commit, part, rung."""


@dataclass(slots=True)
class SliceMetrics:
    """One slice's trials: scores by what they are of, speeds in steps a second, others' shares."""

    trials: int = 0
    voids: int = 0
    scores: dict[Group, list[float]] = field(default_factory=lambda: defaultdict(list))
    speeds: list[float] = field(default_factory=list)
    speeds_alone: list[float] = field(default_factory=list)
    foreign: list[float] = field(default_factory=list)

    def add(self, outcome: Outcome, group: Group, *, base: bool) -> None:
        """Take in a trial's outcome; `base` says that it was of the run's base."""
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
        """Return the spread between seeds, None where no commit has two."""
        many = [scores for scores in self.scores.values() if len(scores) > 1]
        freedom = sum(len(scores) - 1 for scores in many)
        if not freedom:
            return None
        means = [fmean(scores) for scores in many]
        squares = (
            (score - mean) ** 2
            for scores, mean in zip(many, means, strict=True)
            for score in scores
        )
        return math.sqrt(math.fsum(squares) / freedom)

    def as_dict(self) -> dict[str, object]:
        """Return what is known in numbers, None for what is not."""
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
        """Return a line for each way in which others were met on the slice."""
        taken = fmean(self.foreign) if self.foreign else 0.0
        beside, alone = (
            median(known) if known else 0.0 for known in (self.speeds, self.speeds_alone)
        )
        found = {
            f"others took {taken:.1%} of its cores' time: free this machine of what else runs here,"
            " or void such trials (slices.foreign_cpu)": taken > MAX_FOREIGN_SHARE,
            f"{beside:.3g} steps a second beside the others, {alone:.3g} alone: slices slow each"
            " other down, so ask for fewer (slices.count, slices.shares)": beside
            and beside < MIN_SPEED_SHARE * alone,
            f"{self.voids} of its trials were void: `swarm query` has the reasons": self.voids,
        }
        return [line for line, holds in found.items() if holds]


def metrics_by_slice(history: Iterable[ev.Event]) -> dict[str, SliceMetrics]:
    """Return, by slice, what a run's events say."""
    found: dict[str, SliceMetrics] = defaultdict(SliceMetrics)
    base = ""
    for event in history:
        match event:
            case ev.RunOpened():
                base = event.base
            case ev.TrialVoided():
                found[event.started.slice].voids += 1
            case ev.TrialEnded():
                of = event.started
                group = of.commit, of.split, of.rung
                found[of.slice].add(event.outcome, group, base=of.commit == base)
            case _:
                pass
    return dict(found)


async def measure_slices(
    there: Executor,
    slices: Sequence[Slice],
    trial: Trial,
    seeds: int,
    tell: Callable[[str], None],
) -> dict[str, SliceMetrics]:
    """Run `trial` on each slice once alone, then on `seeds` seeds on all of them side by side.

    Raises SetupError where its genome fails, HarnessError where nothing can be measured.
    """
    found = {where.name: SliceMetrics() for where in slices}
    for where in slices if len(slices) > 1 else ():
        tell(f"{where.name} alone")
        speed = _speed(await _scored(there, _at(trial, where, trial.seed)))
        found[where.name].speeds_alone += [] if speed is None else [speed]
    for number in range(seeds):
        tell(f"all slices side by side, {number + 1} of {seeds}")
        trials = [_at(trial, where, trial.seed + number) for where in slices]
        outcomes = await asyncio.gather(*(_scored(there, each) for each in trials))
        for where, outcome in zip(slices, outcomes, strict=True):
            found[where.name].add(outcome, (trial.commit, trial.split, 0), base=True)
    return found


def _at(trial: Trial, where: Slice, seed: int) -> Trial:
    return replace(trial, id=f"{where.name}-{seed}", slice=where, seed=seed)


async def _scored(there: Executor, trial: Trial) -> Outcome:
    try:
        outcome = await there.run(trial)
    except VoidError as error:
        raise HarnessError(f"slice {trial.slice.name} could not be measured: {error}") from error
    if outcome.failure is not None:
        raise SetupError(
            f"the genome fails on slice {trial.slice.name}: {outcome.failure.reason}; mend and"
            " commit it, or give it more time (--seconds)"
        )
    return outcome


def _speed(outcome: Outcome) -> float | None:
    steps, seconds = outcome.claims.get("steps"), outcome.seconds.get("budget")
    return steps / seconds if steps and seconds else None
