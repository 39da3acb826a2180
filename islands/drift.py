"""Know the noise: sentinels say whether a slice still measures as it did.

The **anchor** is one fixed trial: the base on the first baseline seed. Every slice runs it at
launch, so that slices of unlike hardware can be told apart, and again and again: the seed and the
commit are the same, so that what differs is the slice's own noise, or its **drift**. A sentinel
within half of a pair's noise of the slice's level is good. One that is not is repeated at once,
until the doubt is gone or an e-process says that the slice has **drifted**. It is then set apart,
and what it measured since its last good sentinel is void. It is asked again after a while, and
comes back when it measures as before, or when three sentinels in a row agree on another level:
gains are paired on one slice, so that it matters only that the level stays.

The e-process: that the level has changed by a normal multiple of the noise from the k-th sentinel
on, against no change, levels and scale unknown. Under the right Haar prior on these the Bayes
factor is a martingale whatever they are (Pérez-Ortiz, Lardy, de Heide & Grünwald, "E-statistics,
group invariance and anytime-valid testing", Annals of Statistics 2024); averaged over k, and by
Ville's inequality, it exceeds 1/alpha with probability alpha at most, however often one looks and
whenever one repeats. The scale is pooled over slices. ALPHA is spent over the slices and over the
slices already set apart, so that it bounds the chance of a false alarm in a run.

Not covered: noise that is far from normal, and slices whose noise differs much, make the bound
approximate, and so does what is learnt anew after an alarm; a drift of less than half of a pair's
noise is not looked for; nor one that comes and goes between two good sentinels; rungs above the
first; trials of stack checks and promotions stay (pairs are interleaved all the same), and so do
trials that failed on a drifting slice, and the spread that its pairs taught; agents that learned
of a discard are not told that it is void.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import singledispatchmethod
from statistics import fmean
from typing import TypeAlias

from islands import events as ev
from islands.ratchet.noise import Noise
from islands.rng import seed_of

ALPHA = 0.05
"""Chance that a run without drift sets a slice apart, at most."""

MATERIAL = 0.5
"""Of a pair's noise: what levels must differ by to matter."""

WIDTH = 6.0
"""Standard deviation of the drifts looked for, in that of the anchor on one slice.

9 % fewer steps cost 1.3 standard deviations between seeds in the flagship at 10 s (0.0168 of
0.0126), where repeats of one seed had 0.0027: six of these.
"""

REPEATS = 10
"""Sentinels in a row after which doubt that is not borne out is let go: the slice is noisy."""

SETTLED = 3
"""Sentinels in a row that agree, on a slice that was set apart."""

PATIENCE = 9
"""Sentinels that the last slice gets to settle before the run stops."""

LATE = 8
"""Times the interval that a slice set apart waits at most until it is asked again."""

KNOWN = 4
"""Degrees of freedom from which the anchor's own spread is believed."""

SliceEpoch: TypeAlias = tuple[str, int]
"""A slice, and how many times it has come back with another level."""


@dataclass(slots=True)
class WatchedSlice:
    """What is known of one slice: its good sentinels' scores are its `level`.

    `strange` are the latest, in a row and in doubt; `since` the trials after the last good one, of
    which `discards` were decided. `apart` says why it is set apart, and `probes` what it scored
    since then (nan where the anchor failed), last judged within `near`. `asked` counts the run's
    trials at the latest sentinel, `epoch` the levels that it had before.
    """

    level: list[float] = field(default_factory=list)
    strange: list[float] = field(default_factory=list)
    broken: int = 0
    good: str = ""
    since: list[ev.VoidedTrial] = field(default_factory=list)
    discards: list[ev.VoidedDiscard] = field(default_factory=list)
    drifted: str = ""
    apart: str = ""
    probes: list[float] = field(default_factory=list)
    near: float = 0.0
    asked: int = 0
    epoch: int = 0


class Sentinels:
    """The fold of what concerns slices."""

    def __init__(self) -> None:
        self.slices: dict[str, WatchedSlice] = {}
        self.anchor: tuple[str, int] = ("", 0)
        self.alarms = 0
        self.count = 0
        self._started = 0
        self._former: dict[SliceEpoch, tuple[float, int]] = {}
        self._open: dict[int, list[ev.VoidedTrial]] = {}

    def place(self, name: str) -> SliceEpoch:
        """Return where a score of slice `name` is measured now."""
        return (name, self._watched(name).epoch)

    def differ(self, one: SliceEpoch, other: SliceEpoch, pair: float) -> float:
        """Return by how much `one` scores higher than `other`, 0 where that is not certain."""
        levels = [self._level(place) for place in (one, other)]
        if one == other or levels[0] is None or levels[1] is None:
            return 0.0
        off = levels[0][0] - levels[1][0]
        counts = levels[0][1], levels[1][1]
        return off if abs(off) > self._sure(counts, pair) else 0.0

    def apart(self, name: str) -> str:
        """Return why slice `name` is set apart, nothing where it is not."""
        return self._watched(name).apart

    def due(self, name: str, interval: int) -> bool:
        """Return whether slice `name` is to be looked at between two experiments."""
        return len(self._watched(name).since) >= interval

    def doubtful(self, name: str) -> bool:
        """Return whether slice `name` is to be looked at before anything else runs on it."""
        watched = self._watched(name)
        return bool(not watched.level or watched.strange or watched.broken)

    def clears(self, name: str, experiment: int) -> bool:
        """Return whether slice `name` was well after the latest trial of `experiment` on it."""
        watched = self._watched(name)
        return not any(each.experiment == experiment for each in watched.since)

    def retry(self, name: str, interval: int) -> bool:
        """Return whether slice `name`, set apart, has waited long enough to be asked again."""
        watched = self._watched(name)
        waited = self._started - watched.asked
        return bool(watched.apart) and waited >= interval * min(2 ** len(watched.probes), LATE)

    def hopeless(self, name: str) -> bool:
        """Return whether slice `name`, set apart, was asked again as often as it makes sense."""
        return len(self._watched(name).probes) >= PATIENCE

    def news(self) -> ev.SliceQuarantined | ev.SliceReleased | None:
        """Return what follows from the sentinels so far and is not on record yet."""
        for name, watched in self.slices.items():
            if watched.drifted and not watched.apart:
                return self._alarm(name, watched)
            if watched.apart and self._settled(watched):
                back = self._as_before(watched)
                how = "as before" if back else "steadily, at another level"
                return ev.SliceReleased(name, f"it measures {how}", shifted=not back)
        return None

    def apply(self, event: ev.Event, noise: Callable[[], Noise]) -> None:
        """Take in the next event; `noise` is what the run knows of a score's."""
        self._apply(event, noise)

    @singledispatchmethod
    def _apply(self, event: ev.Event, noise: Callable[[], Noise]) -> None:
        """Most that happens says nothing of slices."""

    @_apply.register
    def _(self, event: ev.RunOpened, noise: Callable[[], Noise]) -> None:  # noqa: ARG002
        self.anchor = (event.base, seed_of(event.seed, "baseline", 0))

    @_apply.register
    def _(self, event: ev.RunResumed, noise: Callable[[], Noise]) -> None:  # noqa: ARG002
        for watched in self.slices.values():
            watched.probes.clear()  # who launches again may have mended it
            watched.broken = 0

    @_apply.register
    def _(self, event: ev.TrialStarted, noise: Callable[[], Noise]) -> None:  # noqa: ARG002
        self._started += 1
        if event.purpose == "sentinel":
            self._watched(event.slice).asked = self._started

    @_apply.register
    def _(self, event: ev.TrialEnded, noise: Callable[[], Noise]) -> None:
        trial, score = event.started, event.outcome.score
        watched = self._watched(trial.slice)
        if trial.purpose == "sentinel" or (
            trial.purpose == "baseline" and trial.seed == self.anchor[1]
        ):
            self.count += trial.purpose == "sentinel"
            self._look(trial, watched, score, noise().pair)
        elif score is not None and trial.purpose in ev.ISLANDS_OWN:
            tainted = ev.VoidedTrial(
                trial.trial,
                trial.island,
                trial.experiment,
                trial.commit,
                trial.purpose,
                trial.seed,
                trial.slice,
                score,
            )
            watched.since.append(tainted)
            if trial.experiment:
                self._open.setdefault(trial.experiment, []).append(tainted)
        elif any(
            each.commit == trial.commit and each.purpose == "screen"
            for each in self._open.get(trial.experiment, ())
        ):
            del self._open[trial.experiment]  # the candidate broke, which ended it

    @_apply.register
    def _(self, event: ev.VerdictReached, noise: Callable[[], Noise]) -> None:  # noqa: ARG002
        trials = self._open.pop(event.experiment, [])
        if event.verdict == "discard" and not event.null:
            for name in {trial.slice for trial in trials}:
                watched = self._watched(name)
                latest = reversed(watched.since)  # there it is found soon, however many there are
                if any(each.experiment == event.experiment for each in latest):
                    watched.discards.append(ev.VoidedDiscard(event.experiment, event.island))

    @_apply.register
    def _(self, event: ev.SliceQuarantined, noise: Callable[[], Noise]) -> None:  # noqa: ARG002
        watched = self._watched(event.slice)
        watched.apart, watched.drifted = event.reason, ""
        watched.probes, watched.asked = [], self._started
        watched.strange, watched.broken = [], 0
        void = {each.trial for each in event.trials}
        for each in self.slices.values():
            each.since = [trial for trial in each.since if trial.trial not in void]
        watched.discards.clear()
        for experiment in {each.experiment for each in event.trials}:
            self._open.pop(experiment, None)
        self.alarms += 1

    @_apply.register
    def _(self, event: ev.SliceReleased, noise: Callable[[], Noise]) -> None:  # noqa: ARG002
        watched = self._watched(event.slice)
        if event.shifted:
            if watched.level:
                former = fmean(watched.level), len(watched.level)
                self._former[event.slice, watched.epoch] = former
            watched.level, watched.epoch = watched.probes[-SETTLED:], watched.epoch + 1
        else:
            watched.level.append(watched.probes[-1])
        watched.apart, watched.probes = "", []

    def _watched(self, name: str) -> WatchedSlice:
        return self.slices.setdefault(name, WatchedSlice())

    def _level(self, place: SliceEpoch) -> tuple[float, int] | None:
        """Return the mean and the number of the good sentinels at `place`."""
        watched = self._watched(place[0])
        if watched.epoch != place[1]:
            return self._former.get(place)
        return (fmean(watched.level), len(watched.level)) if watched.level else None

    def _sure(self, counts: tuple[int, int], pair: float) -> float:
        """Return by how much levels of so many sentinels differ for certain, and materially.

        Of the anchor's own spread nothing is known at first but that a pair has it twice.
        """
        own, freedom = self._spread()
        if freedom < KNOWN:
            own = pair / math.sqrt(2)
        return max(MATERIAL * pair, 3 * own * math.sqrt(1 / counts[0] + 1 / counts[1]))

    def _spread(self) -> tuple[float, int]:
        """Return the anchor's standard deviation on one slice, and its degrees of freedom."""
        groups = [watched.level for watched in self.slices.values() if watched.level]
        freedom = sum(map(len, groups)) - len(groups)
        return (math.sqrt(_within(groups) / freedom) if freedom else 0.0, freedom)

    def _look(
        self, trial: ev.TrialStarted, watched: WatchedSlice, score: float | None, pair: float
    ) -> None:
        """Take in what the anchor scored on a slice."""
        if watched.apart:
            watched.near = self._tolerance(len(watched.level), pair)
            watched.probes.append(math.nan if score is None else score)
        elif score is None:
            watched.broken += 1
            if watched.broken >= SETTLED:
                watched.drifted = f"the base failed there {watched.broken} times in a row"
        else:
            self._compare(trial, watched, score, pair)

    def _compare(
        self, trial: ev.TrialStarted, watched: WatchedSlice, score: float, pair: float
    ) -> None:
        first = not watched.level
        watched.strange.append(score)
        watched.broken = 0
        near = self._tolerance(len(watched.level), pair)
        good = first or abs(score - fmean(watched.level)) <= near
        value = 0.0 if good and len(watched.strange) == 1 else self._evidence(watched)
        if good and value < 1:  # one outlier is not taken back by one that only just is none
            self._pass(trial, watched)
        elif value >= len(self.slices) * (self.alarms + 1) * (self.alarms + 2) / ALPHA:
            off = fmean(watched.strange) - fmean(watched.level)
            watched.near = near
            watched.drifted = (
                f"its sentinels moved by {off:+.4g} from {fmean(watched.level):.6g}"
                f" ({len(watched.strange)} in a row, e-value {value:.3g})"
            )
        elif len(watched.strange) >= REPEATS:
            self._pass(trial, watched)

    def _pass(self, trial: ev.TrialStarted, watched: WatchedSlice) -> None:
        watched.level += watched.strange
        watched.strange, watched.good = [], trial.trial
        watched.since.clear()
        watched.discards.clear()

    def _tolerance(self, known: int, pair: float) -> float:
        """Return how far from the mean of `known` scores one may be and be good."""
        own, freedom = self._spread()
        if freedom < KNOWN:
            return MATERIAL * pair
        return max(MATERIAL * pair, 2 * own * math.sqrt(1 + 1 / max(known, 1)))

    def _evidence(self, watched: WatchedSlice) -> float:
        """Return the e-value of a change of level anywhere in a slice's sentinels."""
        own = watched.level + watched.strange
        others = [each.level for each in self.slices.values() if each is not watched and each.level]
        total, weights = 0.0, 0.0
        for first in range(1, len(own)):
            weight = 1 / (first * (first + 1))
            total += weight * factor(own, first, others)
            weights += weight
        return total + 1 - weights

    def _alarm(self, name: str, watched: WatchedSlice) -> ev.SliceQuarantined:
        begun = {
            experiment: trials
            for experiment, trials in self._open.items()
            if any(trial.slice == name for trial in trials)
        }
        void = {each.trial: each for each in watched.since}
        void |= {each.trial: each for trials in begun.values() for each in trials}
        return ev.SliceQuarantined(
            name, watched.drifted, watched.good, tuple(void.values()), tuple(watched.discards)
        )

    def _settled(self, watched: WatchedSlice) -> bool:
        latest = watched.probes[-SETTLED:]
        steady = len(latest) == SETTLED and max(latest) - min(latest) <= 2 * watched.near
        return self._as_before(watched) or (steady and not any(map(math.isnan, latest)))

    def _as_before(self, watched: WatchedSlice) -> bool:
        """Return whether a probe is back at the level (of a slice that has one)."""
        return bool(
            watched.level
            and watched.probes
            and abs(watched.probes[-1] - fmean(watched.level)) <= watched.near
        )


def factor(own: Sequence[float], first: int, others: Sequence[Sequence[float]]) -> float:
    """Return the Bayes factor for a change of level in `own` from index `first` on.

    With n scores in g groups, z the centred indicator of the change, s = z'z, and R the sum of
    squares within groups: (1 + w² s)^(-1/2) (1 - w² (z'y)² / ((1 + w² s) R))^(-(n - g) / 2).
    """
    groups = [own, *others]
    within = _within(groups)
    if within == 0.0:
        return 1.0
    count = len(own)
    spread = first * (count - first) / count
    mean = fmean(own)
    moved = sum(score - mean for score in own[first:])
    wide = 1 + WIDTH**2 * spread
    left = 1 - WIDTH**2 * moved**2 / (wide * within)
    freedom = sum(map(len, groups)) - len(groups)
    return float(wide**-0.5 * left ** (-freedom / 2))


def _within(groups: Sequence[Sequence[float]]) -> float:
    """Return the sum of squares around each group's mean."""
    return math.fsum((score - fmean(group)) ** 2 for group in groups for score in group)
