"""Drift detection: repeats one fixed trial to see whether a slice still measures as it did.

The **anchor** is that trial: the base on the first baseline seed. Every slice runs it at launch, so
that slices of unlike hardware can be told apart, and again as a **sentinel** at intervals: seed and
commit are the same, so what differs is the slice's own noise, or its **drift**. A sentinel within
half of a pair's noise of the slice's level is good. Another is repeated, until one is good or an
e-process says that the slice has **drifted**, or until so many are strange that its level means
nothing. Repeats take a twentieth of the slice's trials at most; meanwhile candidates are measured
in pairs, whose trials follow each other, and no verdict on pairs waits for a sentinel. Screens are
compared with an earlier score: when they lose more, one after the other, than the run's belief
explains (a CUSUM: Page, Biometrika 1954), a sentinel is due at once. A drifted slice is
quarantined, and what it measured since its last good sentinel is void. It is probed again after a
while, and released when it measures as before, or when three sentinels in a row agree on another
level: gains are paired on one slice, so it matters only that the level stays.

The e-process tests that the level has changed by a normal multiple of the noise from the k-th
sentinel on, against no change, levels and scale unknown. Under the right Haar prior on these the
Bayes factor is a martingale whatever they are (Pérez-Ortiz, Lardy, de Heide & Grünwald,
"E-statistics, group invariance and anytime-valid testing", Annals of Statistics 2024). Averaged
over k, and by Ville's inequality, it exceeds 1/alpha with probability alpha at most, however often
one looks and whenever one repeats. The scale is pooled over slices. ALPHA is divided over the
slices and over the slices already quarantined, so that it bounds the chance of a false alarm in a
run.

Not covered:

- The bound is approximate where noise is far from normal, where slices' noise differs much, and
  for what is learned after an alarm.
- A drift of less than half of a pair's noise, one that comes and goes between two good sentinels,
  and drift at rungs above the first.
- A pair whose two trials lie on either side of a jump counts as one that is far off or, if the jump
  is small, in full.
- Trials of kept changes, stack checks and promotions stay (their pairs are interleaved), and so do
  trials that failed on a drifting slice, and the spread that its pairs taught.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import singledispatchmethod
from statistics import fmean, median
from typing import TypeAlias

from islands import events as ev
from islands.ratchet.noise import Noise
from islands.rng import seed_of

ALPHA = 0.05
"""Bound on the chance that a run without drift quarantines a slice."""

MATERIAL_SDS = 0.5
"""Difference of levels that matters, in standard deviations of a pair."""

DRIFT_WIDTH_SDS = 6.0
"""Standard deviation of the drifts looked for, in standard deviations of the anchor on a slice.

9 % fewer steps cost 1.3 standard deviations between seeds in the flagship at 10 s (0.0168 of
0.0126), where repeats of one seed had 0.0027: six of these.
"""

MAX_REPEATS = 10
"""Suspicious sentinels in a row that are noise larger than was known, or an alarm."""

STRANGE_SDS = 3.0
"""Their median distance from the level, in standard deviations of a pair, that is an alarm."""

FREE_REPEATS = 4
"""Sentinels that a slice may repeat, however few trials it ran."""

REPEAT_SHARE = 0.05
"""Share of a slice's trials that may be sentinels, beyond these, for one to be repeated."""

STRANGENESS = 6.0
"""Sum of what screens lose beyond belief from which a sentinel is due.

Each adds its surprise, the negative log of the chance of losing as much, less EXPECTED_SURPRISE.
Screens that follow belief add 1 on average before that.
"""

EXPECTED_SURPRISE = 2.0

SETTLED_SENTINELS = 3
"""Sentinels in a row that must agree to release a quarantined slice; failures that quarantine."""

MAX_PROBES = 9
"""Sentinels that the last slice gets to settle before the run stops."""

MAX_BACKOFF = 8
"""Longest wait between probes of a quarantined slice, in sentinel intervals."""

MIN_SPREAD_FREEDOM = 4
"""Degrees of freedom from which the anchor's own spread is used."""

SliceEpoch: TypeAlias = tuple[str, int]
"""A slice's name, and how many times it was released with another level."""


@dataclass(slots=True)
class WatchedSlice:
    """The state of one slice.

    - `level`: scores of its good sentinels
    - `suspicious`: scores of the latest sentinels, none of them good
    - `failures`: latest sentinels in a row that failed
    - `strangeness`: what its latest screens lost beyond belief
    - `trials`, `sentinels`: how many it has run
    - `last_good_trial`: trial id of the last good sentinel
    - `count_since`: trials after that one
    - `trials_since`, `discards_since`: those that void would be, and discards that rest on them
    - `drift_reason`: why it has drifted, until that is on record
    - `quarantine_reason`: why it is quarantined, "" where it is not
    - `probes`: scores of its sentinels since then, nan where one failed
    - `tolerance`: how far from the level a probe may be
    - `last_sentinel`: trials of the run that had started by its latest sentinel
    - `epoch`: levels that it had before
    """

    level: list[float] = field(default_factory=list)
    suspicious: list[float] = field(default_factory=list)
    failures: int = 0
    strangeness: float = 0.0
    trials: int = 0
    sentinels: int = 0
    last_good_trial: str = ""
    count_since: int = 0
    trials_since: list[ev.VoidedTrial] = field(default_factory=list)
    discards_since: list[ev.VoidedDiscard] = field(default_factory=list)
    drift_reason: str = ""
    quarantine_reason: str = ""
    probes: list[float] = field(default_factory=list)
    tolerance: float = 0.0
    last_sentinel: int = 0
    epoch: int = 0


class Sentinels:
    """The fold of events into the state of every slice.

    - `anchor`: commit and seed of the sentinel trial
    - `alarms`: slices quarantined so far
    - `count`: sentinels so far
    """

    def __init__(self) -> None:
        self.slices: dict[str, WatchedSlice] = {}
        self.anchor: tuple[str, int] = ("", 0)
        self.alarms = 0
        self.count = 0
        self._started = 0
        self._former: dict[SliceEpoch, tuple[float, int]] = {}
        self._open: dict[int, list[ev.VoidedTrial]] = {}

    def current_epoch(self, name: str) -> SliceEpoch:
        """Return the slice and epoch that a score of slice `name` belongs to now."""
        return (name, self._watched(name).epoch)

    def level_difference(self, one: SliceEpoch, other: SliceEpoch, pair: float) -> float:
        """Return by how much `one` scores higher than `other`, 0.0 where that is not certain."""
        levels = [self._level(place) for place in (one, other)]
        if one == other or levels[0] is None or levels[1] is None:
            return 0.0
        off = levels[0][0] - levels[1][0]
        counts = levels[0][1], levels[1][1]
        return off if abs(off) > self._certain_difference(counts, pair) else 0.0

    def quarantine_reason(self, name: str) -> str:
        """Return why slice `name` is quarantined, "" where it is not."""
        return self._watched(name).quarantine_reason

    def check_due(self, name: str, interval: int) -> bool:
        """Return whether slice `name` is due a sentinel between two experiments."""
        watched = self._watched(name)
        strange = watched.strangeness >= STRANGENESS and self._may_repeat(watched)
        return strange or watched.count_since >= interval

    def must_check(self, name: str) -> bool:
        """Return whether slice `name` needs a sentinel before another experiment begins on it."""
        watched = self._watched(name)
        doubtful = bool(watched.suspicious or watched.failures) and self._may_repeat(watched)
        return doubtful or not watched.level

    def screened(self, name: str, chance: float) -> None:
        """Take in a screen on slice `name` that had the `chance` to lose as much or more."""
        watched = self._watched(name)
        surprise = -math.log(max(chance, sys.float_info.min)) - EXPECTED_SURPRISE
        watched.strangeness = max(0.0, watched.strangeness + min(surprise, STRANGENESS / 2))

    def doubt(self, name: str) -> float:
        """Return by how much the level of slice `name` may have moved, for all that is known."""
        watched = self._watched(name)
        if not watched.suspicious or not watched.level:
            return 0.0
        level = fmean(watched.level)
        return max(abs(score - level) for score in watched.suspicious)

    def retry_due(self, name: str, interval: int) -> bool:
        """Return whether quarantined slice `name` has waited long enough for another probe."""
        watched = self._watched(name)
        waited = self._started - watched.last_sentinel
        return bool(watched.quarantine_reason) and waited >= interval * min(
            2 ** len(watched.probes), MAX_BACKOFF
        )

    def retries_exhausted(self, name: str) -> bool:
        """Return whether quarantined slice `name` has had all its probes."""
        return len(self._watched(name).probes) >= MAX_PROBES

    def next_event(self) -> ev.SliceQuarantined | ev.SliceReleased | None:
        """Return the event that follows from the sentinels so far, None if all are recorded."""
        for name, watched in self.slices.items():
            if watched.drift_reason and not watched.quarantine_reason:
                return self._alarm(name, watched)
            if watched.quarantine_reason and self._settled(watched):
                back = self._as_before(watched)
                how = "as before" if back else "steadily, at another level"
                return ev.SliceReleased(name, f"it measures {how}", shifted=not back)
        return None

    def apply(self, event: ev.Event, noise: Callable[[], Noise]) -> None:
        """Apply the next event; `noise` returns the run's noise of a score."""
        self._apply(event, noise)

    @singledispatchmethod
    def _apply(self, event: ev.Event, noise: Callable[[], Noise]) -> None:
        """Ignore events that do not concern slices."""

    @_apply.register
    def _run_opened(self, event: ev.RunOpened, noise: Callable[[], Noise]) -> None:  # noqa: ARG002
        self.anchor = (event.base, seed_of(event.seed, "baseline", 0))

    @_apply.register
    def _run_resumed(self, event: ev.RunResumed, noise: Callable[[], Noise]) -> None:  # noqa: ARG002
        for watched in self.slices.values():
            watched.probes.clear()  # the user may have fixed it before launching again
            watched.failures = 0

    @_apply.register
    def _trial_started(self, event: ev.TrialStarted, noise: Callable[[], Noise]) -> None:  # noqa: ARG002
        self._started += 1
        if event.purpose == "sentinel":
            self._watched(event.slice).last_sentinel = self._started

    @_apply.register
    def _trial_ended(self, event: ev.TrialEnded, noise: Callable[[], Noise]) -> None:
        trial, score = event.started, event.outcome.score
        watched = self._watched(trial.slice)
        watched.trials += 1
        watched.sentinels += trial.purpose == "sentinel"
        watched.count_since += score is not None and trial.purpose in ev.ISLANDS_OWN
        if trial.purpose == "sentinel" or (
            trial.purpose == "baseline" and trial.seed == self.anchor[1]
        ):
            self.count += trial.purpose == "sentinel"
            self._anchor_ended(trial, watched, score, noise().pair)
        elif score is not None and trial.purpose in ev.ISLANDS_OWN:
            voidable = ev.VoidedTrial(
                trial.trial,
                trial.island,
                trial.experiment,
                trial.commit,
                trial.purpose,
                trial.seed,
                trial.slice,
                score,
            )
            watched.trials_since.append(voidable)
            if trial.experiment:
                self._open.setdefault(trial.experiment, []).append(voidable)
        elif any(
            own.commit == trial.commit and own.purpose == "screen"
            for own in self._open.get(trial.experiment, ())
        ):
            del self._open[trial.experiment]  # the candidate failed, which ended the experiment

    @_apply.register
    def _verdict_reached(self, event: ev.VerdictReached, noise: Callable[[], Noise]) -> None:  # noqa: ARG002
        trials = self._open.pop(event.experiment, [])
        if event.verdict == "keep":
            for watched in self.slices.values():
                kept = [one for one in watched.trials_since if one.experiment != event.experiment]
                watched.trials_since = kept
        if event.verdict == "discard" and not event.null:
            for name in {trial.slice for trial in trials}:
                watched = self._watched(name)
                latest = reversed(watched.trials_since)  # newest first: a hit is near the end
                if any(trial.experiment == event.experiment for trial in latest):
                    watched.discards_since.append(ev.VoidedDiscard(event.experiment, event.island))

    @_apply.register
    def _slice_quarantined(self, event: ev.SliceQuarantined, noise: Callable[[], Noise]) -> None:  # noqa: ARG002
        watched = self._watched(event.slice)
        watched.quarantine_reason, watched.drift_reason = event.reason, ""
        watched.probes, watched.last_sentinel = [], self._started
        watched.suspicious, watched.failures = [], 0
        watched.strangeness, watched.count_since = 0.0, 0
        void = {trial.trial for trial in event.trials}
        for other in self.slices.values():
            other.trials_since = [one for one in other.trials_since if one.trial not in void]
        watched.discards_since.clear()
        for experiment in {trial.experiment for trial in event.trials}:
            self._open.pop(experiment, None)
        self.alarms += 1

    @_apply.register
    def _slice_released(self, event: ev.SliceReleased, noise: Callable[[], Noise]) -> None:  # noqa: ARG002
        watched = self._watched(event.slice)
        if event.shifted:
            if watched.level:
                former = fmean(watched.level), len(watched.level)
                self._former[event.slice, watched.epoch] = former
            watched.level, watched.epoch = watched.probes[-SETTLED_SENTINELS:], watched.epoch + 1
        else:
            watched.level.append(watched.probes[-1])
        watched.quarantine_reason, watched.probes = "", []

    def _watched(self, name: str) -> WatchedSlice:
        return self.slices.setdefault(name, WatchedSlice())

    def _level(self, place: SliceEpoch) -> tuple[float, int] | None:
        """Return the mean and the number of the good sentinels at `current_epoch`."""
        watched = self._watched(place[0])
        if watched.epoch != place[1]:
            return self._former.get(place)
        return (fmean(watched.level), len(watched.level)) if watched.level else None

    def _certain_difference(self, counts: tuple[int, int], pair: float) -> float:
        """Return the difference from which levels of so many sentinels certainly differ.

        Until the anchor's own spread is known, it is taken as a pair's over root two.
        """
        own, freedom = self._spread()
        if freedom < MIN_SPREAD_FREEDOM:
            own = pair / math.sqrt(2)
        return max(MATERIAL_SDS * pair, 3 * own * math.sqrt(1 / counts[0] + 1 / counts[1]))

    def _spread(self) -> tuple[float, int]:
        """Return the anchor's standard deviation on one slice, and its degrees of freedom."""
        groups = [watched.level for watched in self.slices.values() if watched.level]
        freedom = sum(map(len, groups)) - len(groups)
        return (math.sqrt(_sum_of_squares(groups) / freedom) if freedom else 0.0, freedom)

    def _anchor_ended(
        self, trial: ev.TrialStarted, watched: WatchedSlice, score: float | None, pair: float
    ) -> None:
        """Apply the anchor's score on a slice, None where it failed."""
        if watched.quarantine_reason:
            watched.tolerance = self._tolerance(len(watched.level), pair)
            watched.probes.append(math.nan if score is None else score)
        elif score is None:
            watched.failures += 1
            if watched.failures >= SETTLED_SENTINELS:
                watched.drift_reason = f"the base failed there {watched.failures} times in a row"
        else:
            self._compare(trial, watched, score, pair)

    def _compare(
        self, trial: ev.TrialStarted, watched: WatchedSlice, score: float, pair: float
    ) -> None:
        """Accept a sentinel, declare drift, or leave the slice suspicious: it is repeated."""
        first = not watched.level
        watched.suspicious.append(score)
        watched.failures = 0
        near = self._tolerance(len(watched.level), pair)
        good = first or abs(score - fmean(watched.level)) <= near
        value = 0.0 if good and len(watched.suspicious) == 1 else self._evidence(watched)
        # value < 1: a score just within the tolerance does not clear an outlier before it
        if good and value < 1:
            self._accept(trial, watched)
        elif value >= len(self.slices) * (self.alarms + 1) * (self.alarms + 2) / ALPHA:
            off = fmean(watched.suspicious) - fmean(watched.level)
            watched.tolerance = near
            watched.drift_reason = (
                f"its sentinels moved by {off:+.4g} from {fmean(watched.level):.6g}"
                f" ({len(watched.suspicious)} in a row, e-value {value:.3g})"
            )
        elif len(watched.suspicious) >= MAX_REPEATS:
            self._end_repeats(trial, watched, pair)

    def _end_repeats(self, trial: ev.TrialStarted, watched: WatchedSlice, pair: float) -> None:
        """Declare sentinels that agree on no other level an alarm, or noise that is larger."""
        level = fmean(watched.level)
        off = [abs(score - level) for score in watched.suspicious]
        if median(off) < STRANGE_SDS * pair:
            self._accept(trial, watched)
            return
        watched.tolerance = self._tolerance(len(watched.level), pair)
        watched.drift_reason = (
            f"its last {len(off)} sentinels are off by up to {max(off):.4g} from {level:.6g},"
            " and agree on no other level"
        )

    def _accept(self, trial: ev.TrialStarted, watched: WatchedSlice) -> None:
        watched.level += watched.suspicious
        watched.suspicious, watched.last_good_trial = [], trial.trial
        watched.strangeness, watched.count_since = 0.0, 0
        watched.trials_since.clear()
        watched.discards_since.clear()

    def _may_repeat(self, watched: WatchedSlice) -> bool:
        return watched.sentinels < FREE_REPEATS + REPEAT_SHARE * watched.trials

    def _tolerance(self, count: int, pair: float) -> float:
        """Return how far a good score may be from the mean of `count` scores."""
        own, freedom = self._spread()
        if freedom < MIN_SPREAD_FREEDOM:
            return MATERIAL_SDS * pair
        return max(MATERIAL_SDS * pair, 2 * own * math.sqrt(1 + 1 / max(count, 1)))

    def _evidence(self, watched: WatchedSlice) -> float:
        """Return the e-value of a change of level anywhere in a slice's sentinels."""
        own = watched.level + watched.suspicious
        others = [one.level for one in self.slices.values() if one is not watched and one.level]
        total, weights = 0.0, 0.0
        for first in range(1, len(own)):
            weight = 1 / (first * (first + 1))
            total += weight * bayes_factor(own, first, others)
            weights += weight
        return total + 1 - weights

    def _alarm(self, name: str, watched: WatchedSlice) -> ev.SliceQuarantined:
        open_trials = {
            experiment: trials
            for experiment, trials in self._open.items()
            if any(trial.slice == name for trial in trials)
        }
        void = {trial.trial: trial for trial in watched.trials_since}
        void |= {trial.trial: trial for trials in open_trials.values() for trial in trials}
        return ev.SliceQuarantined(
            name,
            watched.drift_reason,
            watched.last_good_trial,
            tuple(void.values()),
            tuple(watched.discards_since),
        )

    def _settled(self, watched: WatchedSlice) -> bool:
        latest = watched.probes[-SETTLED_SENTINELS:]
        steady = (
            len(latest) == SETTLED_SENTINELS and max(latest) - min(latest) <= 2 * watched.tolerance
        )
        return self._as_before(watched) or (steady and not any(map(math.isnan, latest)))

    def _as_before(self, watched: WatchedSlice) -> bool:
        """Return whether the latest probe is back at the slice's level."""
        return bool(
            watched.level
            and watched.probes
            and abs(watched.probes[-1] - fmean(watched.level)) <= watched.tolerance
        )


def bayes_factor(own: Sequence[float], first: int, others: Sequence[Sequence[float]]) -> float:
    """Return the Bayes factor for a change of level in `own` from index `first` on.

    With n scores in g groups, z the centred indicator of the change, s = z'z, and R the sum of
    squares within groups: (1 + w² s)^(-1/2) (1 - w² (z'y)² / ((1 + w² s) R))^(-(n - g) / 2).
    """
    groups = [own, *others]
    within = _sum_of_squares(groups)
    if within == 0.0:
        return 1.0
    count = len(own)
    spread = first * (count - first) / count
    mean = fmean(own)
    moved = sum(score - mean for score in own[first:])
    wide = 1 + DRIFT_WIDTH_SDS**2 * spread
    unexplained = 1 - DRIFT_WIDTH_SDS**2 * moved**2 / (wide * within)
    freedom = sum(map(len, groups)) - len(groups)
    return float(wide**-0.5 * unexplained ** (-freedom / 2))


def _sum_of_squares(groups: Sequence[Sequence[float]]) -> float:
    """Return the sum of squares around each group's mean."""
    return math.fsum((score - fmean(group)) ** 2 for group in groups for score in group)
