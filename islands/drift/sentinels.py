"""Drift detection: repeats one fixed trial to see whether a slice still measures as it did.

The **anchor** is that trial: the base on the first baseline seed. Every slice runs it at launch, so
that slices of unlike hardware can be told apart, and again as a **sentinel** at intervals: seed and
commit are the same, so what differs is the slice's own noise, or its **drift**. A sentinel near the
slice's level (`tolerance` in islands/drift/anchor_spread.py) is good. Another is repeated, until
one is good or an e-process (islands/drift/level_change.py) says that the slice has **drifted**, or
until so many are strange that its level means nothing. It is repeated at once while sentinels are
few of the slice's trials (REPEAT_SHARE); no verdict on pairs waits for one. A head that runs again
beside a screen is a sentinel, too, and shows larger moves at once (islands/drift/level_moves.py): a
slice that moves MAX_REPEATS times and never settles has drifted. A drifted slice is quarantined,
and what it measured since its last good sentinel is void. It is probed again after a while, and
released when it measures as before, or when three sentinels in a row agree on another level, those
that showed the drift among them: gains are paired on one slice, so it matters only that the level
stays. ALPHA is divided over the slices and over the slices already quarantined, so that it bounds
the chance of a false alarm in a run.

Where the anchors of unlike slices differ, each slice repeats it at once until the anchor's own
spread is known, so that the difference is told from noise. Where the anchor repeats its score
exactly, sentinels are rarer.

Not covered:

- The bound is approximate where noise is far from normal, where slices' noise differs much, and
  for what is learned after an alarm.
- A drift of less than half of a pair's noise (three quarters until the anchor's own spread is
  known), one that comes and goes between two good sentinels, and drift at rungs above the first.
- A pair whose two trials lie on either side of a jump counts as one that is far off or, if the jump
  is small, in full.
- Trials of kept changes, stack checks and promotions stay (their pairs are interleaved), and so do
  trials that failed on a drifting slice, and the spread that its pairs taught.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import singledispatchmethod
from statistics import fmean, median

from islands import events as ev
from islands.drift.anchor_spread import certain_difference, repeats_exactly, tolerance, unlike
from islands.drift.level_change import evidence
from islands.drift.watched_slice import SliceEpoch, WatchedSlice
from islands.ratchet.noise import Noise
from islands.rng import seed_of

ALPHA = 0.05
"""Bound on the chance that a run without drift quarantines a slice."""

MAX_REPEATS = 10
"""Suspicious sentinels in a row that are noise larger than was known, or an alarm."""

STRANGE_SDS = 3.0
"""Their median distance from the level, in standard deviations of a pair, that is an alarm."""

REPEAT_SHARE = 0.15
"""Share of a slice's trials up to which a sentinel that is off is repeated at once.

A slice that slows by nine in a hundred half-way through 200 trials is found in 25 of 32 runs, and
sentinels take 4.4 % of the trials; 3 % where none drifts.
"""

NOT_COUNTED = 35
"""Trials that a slice must have run before any counts: a short run has no time for repeats."""

SETTLED_SENTINELS = 3
"""Sentinels in a row that must agree to release a quarantined slice; failures that quarantine."""

MAX_PROBES = 9
"""Sentinels that the last slice gets to settle before the run stops."""

MAX_BACKOFF = 8
"""Longest wait between probes of a quarantined slice, in sentinel intervals."""

EXACT_INTERVALS = 4
"""How much longer a slice then measures from one sentinel to the next."""


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
        return off if abs(off) > certain_difference(self.slices.values(), counts, pair) else 0.0

    def quarantine_reason(self, name: str) -> str:
        """Return why slice `name` is quarantined, "" where it is not."""
        return self._watched(name).quarantine_reason

    def check_due(self, name: str, interval: int, pair: float) -> bool:
        """Return whether slice `name` is due a sentinel between two experiments.

        `pair` is the noise of a pair as the run knows it.
        """
        watched = self._watched(name)
        if self.exact:
            interval *= EXACT_INTERVALS
        return watched.count_since >= interval or unlike(self.slices.values(), watched, pair)

    @property
    def exact(self) -> bool:
        """Whether one commit on one seed repeats its score exactly, as far as sentinels show."""
        return repeats_exactly(self.slices.values())

    def must_check(self, name: str) -> bool:
        """Return whether slice `name` needs a sentinel before another experiment begins on it."""
        watched = self._watched(name)
        doubtful = bool(watched.suspicious or watched.failures) and self._may_repeat(watched)
        return doubtful or not (watched.level or watched.epoch)

    def suspicious(self, name: str) -> bool:
        """Return whether the latest sentinel of slice `name` was off, and no head has answered."""
        watched = self._watched(name)
        return bool(watched.suspicious and watched.level) and not watched.answered

    def answer(self, name: str) -> None:
        """Take in that a head that ran again on slice `name` scored as before."""
        self._watched(name).answered = True

    def moved(self, name: str, *, again: bool) -> None:
        """Take in that the level of slice `name` has moved; the next sentinel tells the new one.

        `again`: it had not been steady since it moved before. MAX_REPEATS such moves are an alarm.
        """
        watched = self._watched(name)
        watched.moves = watched.moves + 1 if again else 1
        self._begin_epoch(name, [])
        watched.suspicious.clear()
        watched.trials_since.clear()
        watched.discards_since.clear()
        if watched.moves >= MAX_REPEATS:
            watched.drift_reason = f"its level moved {watched.moves} times and did not settle"

    def returned(self, name: str, epoch: SliceEpoch) -> None:
        """Take in that slice `name` is back at the level of an earlier epoch."""
        watched, known = self._watched(name), self._former.pop(epoch, None)
        watched.epoch, watched.moves = epoch[1], 0
        watched.level = [known[0]] * known[1] if known else []

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
        if event.purpose == "sentinel" and not event.experiment:
            self._watched(event.slice).last_sentinel = self._started

    @_apply.register
    def _trial_ended(self, event: ev.TrialEnded, noise: Callable[[], Noise]) -> None:
        trial, score = event.started, event.outcome.score
        watched = self._watched(trial.slice)
        watched.trials += 1
        watched.count_since += score is not None and trial.purpose in ev.ISLANDS_OWN
        if trial.purpose == "sentinel" and trial.experiment:
            return  # a head beside a candidate's screen: islands/drift/level_moves.py
        if trial.purpose == "sentinel" or (
            trial.purpose == "baseline" and trial.seed == self.anchor[1]
        ):
            self.count += trial.purpose == "sentinel"
            watched.sentinels += trial.purpose == "sentinel"
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
        watched.count_since, watched.moves = 0, 0
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
            self._begin_epoch(event.slice, watched.latest(SETTLED_SENTINELS))
        else:
            watched.level.append(watched.probes[-1])
        watched.quarantine_reason, watched.probes, watched.moved_to = "", [], []

    def _begin_epoch(self, name: str, level: list[float]) -> None:
        """Give slice `name` another level, of these scores; the one before is remembered."""
        watched = self._watched(name)
        if watched.level:
            self._former[name, watched.epoch] = fmean(watched.level), len(watched.level)
        watched.epochs += 1
        watched.level, watched.epoch = level, watched.epochs

    def _watched(self, name: str) -> WatchedSlice:
        return self.slices.setdefault(name, WatchedSlice())

    def _level(self, place: SliceEpoch) -> tuple[float, int] | None:
        """Return the mean and the number of the good sentinels at `current_epoch`."""
        watched = self._watched(place[0])
        if watched.epoch != place[1]:
            return self._former.get(place)
        return (fmean(watched.level), len(watched.level)) if watched.level else None

    def _anchor_ended(
        self, trial: ev.TrialStarted, watched: WatchedSlice, score: float | None, pair: float
    ) -> None:
        """Apply the anchor's score on a slice, None where it failed."""
        if watched.quarantine_reason:
            watched.tolerance = tolerance(self.slices.values(), len(watched.level), pair)
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
        watched.answered = False
        watched.failures, watched.count_since = 0, 0
        near = tolerance(self.slices.values(), len(watched.level), pair)
        good = first or abs(score - fmean(watched.level)) <= near
        value = 0.0 if good and len(watched.suspicious) == 1 else self._evidence_of_change(watched)
        # value < 1: a score just within the tolerance does not clear an outlier before it
        if good and value < 1:
            self._accept(trial, watched)
        elif value >= len(self.slices) * (self.alarms + 1) * (self.alarms + 2) / ALPHA:
            off = fmean(watched.suspicious) - fmean(watched.level)
            watched.tolerance, watched.moved_to = near, watched.suspicious
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
        watched.tolerance = tolerance(self.slices.values(), len(watched.level), pair)
        watched.drift_reason = (
            f"its last {len(off)} sentinels are off by up to {max(off):.4g} from {level:.6g},"
            " and agree on no other level"
        )

    def _accept(self, trial: ev.TrialStarted, watched: WatchedSlice) -> None:
        watched.level += watched.suspicious
        watched.suspicious, watched.last_good_trial = [], trial.trial
        watched.trials_since.clear()
        watched.discards_since.clear()

    def _may_repeat(self, watched: WatchedSlice) -> bool:
        return watched.sentinels < REPEAT_SHARE * (watched.trials - NOT_COUNTED)

    def _evidence_of_change(self, watched: WatchedSlice) -> float:
        """Return the e-value of a change of level anywhere in a slice's sentinels."""
        others = [one.level for one in self.slices.values() if one is not watched and one.level]
        return evidence(watched.level + watched.suspicious, others)

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
        latest = watched.latest(SETTLED_SENTINELS)
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
