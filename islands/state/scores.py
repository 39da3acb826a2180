"""Scores of the commits that the run still needs, and what follows from them: noise, pairs, means.

A commit's scores, and the numbers that guards watch, are forgotten once no island builds on it. The
spread of pairs is that of the latest REMEMBERED experiments: as heads change, so may it.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from itertools import chain
from statistics import fmean, median

from harness.contract import Direction, Outcome
from islands import events as ev
from islands.drift.sentinels import Sentinels
from islands.drift.watched_slice import SliceEpoch
from islands.ratchet.guards import measures
from islands.ratchet.learnt_noise import ROUNDING, learnt_noise
from islands.ratchet.noise import Noise, gain_of, spread
from islands.ratchet.spread import PooledSpread, contrasts, doubtful, far_limit, odd_ones, pooled
from islands.rng import seed_of
from islands.state.population import Experiment

REMEMBERED = 64
"""Latest experiments whose pairs say how noisy a pair is."""

LARGE_GAIN = 4.0
"""Gain, in standard deviations of a pair, that differs from seed to seed by more than others do.

In eight runs of `gpt` pairs of gains above 0.07 vary by 0.0145 (48 degrees of freedom), those of
gains below 0.04 by 0.008 (14), on the base and on heads alike.
"""

SHARED = 0.5
"""Share of a score's variance that all commits are expected to have in common on one seed.

In a run of `gpt` the baseline's variance held the bar at 0.03 to 0.043, over screens of 0.016 to
0.026 of changes that others kept. With half of it taken off where trials are spent, 27 cells of 30
nights gain 1.01 of before (1.3 for `harsh` at sigma 2), with three quarters 0.99.
"""

MORE_SEEDS = 4
"""Seeds beyond the baseline's that tell which of its scores is far off."""


class _LatestPairs:
    """How much the pairs of each of the latest experiments differ among themselves."""

    def __init__(self) -> None:
        self._contrasts: deque[list[float]] = deque(maxlen=REMEMBERED)
        self.spread = PooledSpread()

    def add(self, pairs: list[float]) -> None:
        self._contrasts.append(contrasts(pairs))
        self.spread = pooled(chain.from_iterable(self._contrasts))


class Scores:
    """The fold of what was measured.

    `by_commit` has scores by commit and seed: all of the base and of heads, screening left out.
    `lines` counts the genome's lines, where the base's were counted.
    """

    def __init__(self, sentinels: Sentinels) -> None:
        self.by_commit: dict[str, dict[int, float]] = {}
        self.lines: dict[str, int] = {}
        self._sentinels = sentinels
        self._at: dict[str, dict[int, dict[SliceEpoch, float]]] = {}
        self._run: ev.RunOpened | None = None
        self._baseline_seeds: list[int] = []
        self._measurements: dict[str, dict[int, dict[str, float]]] = {}
        self._slice_epochs: dict[str, dict[int, SliceEpoch]] = {}
        self._screened: dict[str, dict[int, dict[str, tuple[SliceEpoch, float]]]] = {}
        self._pairs, self._small_pairs = _LatestPairs(), _LatestPairs()
        self._between_seeds: deque[float] = deque(maxlen=REMEMBERED)
        self._first: dict[str, tuple[int, float]] = {}

    @property
    def run(self) -> ev.RunOpened:
        """The event that opened the run. Raises ValueError on an empty ledger."""
        if self._run is None:
            raise ValueError("the ledger does not begin with a run")
        return self._run

    @property
    def direction(self) -> Direction:
        """Whether a lower or a higher score is better."""
        return self.run.direction

    def baseline_seeds(self) -> list[int]:
        """Return the seeds on which the base is measured before anything else is."""
        return [*self._baseline_seeds]

    def baseline(self) -> list[float]:
        """Return the base's scores on the baseline seeds measured so far."""
        scores = self.by_commit.get(self.run.base, {})
        return [scores[seed] for seed in self.baseline_seeds() if seed in scores]

    def noise(self) -> Noise:
        """Return what is known of a score's spread between seeds."""
        return self._noise(self._pairs.spread)

    def noise_of_small(self) -> Noise:
        """Return the same as pairs of small gains show it; at most what all pairs do.

        Of the baseline's variance only what pairs are expected not to have in common counts.
        """
        noise = self._noise(self._small_pairs.spread)
        own = replace(noise, sigma=noise.sigma * math.sqrt(1 - SHARED))
        return min(own, self.noise(), key=lambda noise: noise.pair)

    def _noise(self, pairs: PooledSpread) -> Noise:
        of_base = self.by_commit.get(self._run.base, {}) if self._run else {}
        return learnt_noise(
            tuple(self._levelled(self.baseline())),
            tuple(of_base.values()),
            pairs,
            tuple(self._between_seeds),
        )

    def _levelled(self, baseline: list[float]) -> list[float]:
        """Return the baseline's scores less the differences between the slices that ran it."""
        at = self._at.get(self.run.base, {}) if self._run else {}
        epochs_by_seed = {seed: next(iter(known)) for seed, known in at.items()}
        epochs = [epochs_by_seed[seed] for seed in self.baseline_seeds() if seed in epochs_by_seed]
        if len(epochs) != len(baseline) or len(set(epochs)) <= 1:
            return baseline
        pair = math.sqrt(2) * spread(baseline)
        return [
            score - self._sentinels.level_difference(epoch, epochs[0], pair)
            for score, epoch in zip(baseline, epochs, strict=True)
        ]

    def has(self, commit: str) -> bool:
        """Return whether `commit` has any score."""
        return bool(self.by_commit.get(commit))

    def mean(self, commit: str) -> float | None:
        """Return the mean of a head's scores that are not far off, None without any."""
        scores = self.by_commit.get(commit)
        return fmean(scores[seed] for seed in self.usable_seeds(commit)) if scores else None

    @property
    def far(self) -> float:
        """How far a head's score on another seed may be from its others on a steady slice."""
        noise = self.noise()
        sd = max(noise.sigma, noise.pair / math.sqrt(2))
        return far_limit(noise.known_by) * sd if sd else math.inf

    def distance(self, commit: str, score: float) -> float:
        """Return how far a score of a head is from its others, 0.0 where it has none."""
        mean = self.mean(commit)
        return 0.0 if mean is None else abs(score - mean)

    def usable_seeds(self, commit: str) -> list[int]:
        """Return the seeds on which a head's score is not far off its others; all if that is none.

        A candidate that is screened on another seed would look as much better than the head.
        """
        scores = self.by_commit[commit]
        noise = self.noise()
        sd = max(noise.sigma, noise.pair / math.sqrt(2))
        odd = odd_ones([*scores.values()], sd, noise.known_by)
        return [seed for n, seed in enumerate(scores) if n not in odd] or [*scores]

    def seeds_at(self, commit: str, slice_name: str) -> list[int]:
        """Return the usable seeds that a head was scored on since the level of a slice moved.

        All of them if those are none.
        """
        usable, here = self.usable_seeds(commit), self._sentinels.current_epoch(slice_name)
        epochs = self._slice_epochs.get(commit, {})
        return [seed for seed in usable if epochs.get(seed, here) == here] or usable

    def comparable(self, commit: str, seed: int, slice_name: str) -> bool:
        """Return whether a slice scored a head at the level that it has now."""
        here = self._sentinels.current_epoch(slice_name)
        return self._slice_epochs.get(commit, {}).get(seed) == here

    def stale(self, commit: str, seed: int, slice_name: str) -> bool:
        """Return whether the level of a slice has moved since it scored a head."""
        here = self._sentinels.current_epoch(slice_name)
        epoch = self._slice_epochs.get(commit, {}).get(seed, here)
        return epoch[0] == here[0] and epoch != here

    def measures(self, commit: str) -> dict[str, dict[int, float]]:
        """Return the numbers that can be guarded, by name and seed, of a head or a candidate."""
        by_name: dict[str, dict[int, float]] = {}
        for seed, values in self._measurements.get(commit, {}).items():
            for name, value in values.items():
                by_name.setdefault(name, {})[seed] = value
        if commit in self.lines:
            by_name["lines"] = {0: float(self.lines[commit])}
        return by_name

    def pairs(self, experiment: Experiment) -> list[float]:
        """Return the gains on the fresh seeds on which candidate and head both have a score."""
        head = self.by_commit.get(experiment.parent, {})
        return [
            gain_of(head[seed], score, self.direction)
            for seed, score in experiment.confirmed.items()
            if seed in head
        ]

    def screen_gain(self, experiment: Experiment, seed: int, score: float) -> float | None:
        """Return the gain that a screening score shows, None if the head's score became void.

        The difference between the slices that head and candidate ran on is taken out.
        """
        head = self.now(experiment.parent, seed)
        if head is None:
            return None
        head_epoch = self._slice_epochs[experiment.parent][seed]
        own_epoch = self._slice_epochs[experiment.commit][seed]
        off = self._sentinels.level_difference(head_epoch, own_epoch, self.noise().pair)
        return gain_of(head - off, score, self.direction)

    def beside(self, head: str, seed: int, slice_name: str) -> list[float]:
        """Return the gains of the latest screens on a seed that a slice ran at its level of now.

        There are none where the head's score is of another level.
        """
        score, here = self.now(head, seed), self._sentinels.current_epoch(slice_name)
        if score is None or not self.comparable(head, seed, slice_name):
            return []
        screened = self._screened.get(head, {}).get(seed, {}).values()
        return [gain_of(score, own, self.direction) for epoch, own in screened if epoch == here]

    def add_screen(self, experiment: Experiment, seed: int, score: float) -> None:
        """Take in a screening score; the next ones on this seed are judged beside it."""
        screened = self._screened.setdefault(experiment.parent, {}).setdefault(seed, {})
        screened[experiment.commit] = self._slice_epochs[experiment.commit][seed], score
        if len(screened) > REMEMBERED:
            del screened[next(iter(screened))]

    def open(self, event: ev.RunOpened) -> None:
        """Take in the run's base and seed."""
        self._run = event
        self._baseline_seeds = [
            seed_of(event.seed, "baseline", k) for k in range(event.baseline_seeds)
        ]
        if event.lines:
            self.lines[event.base] = event.lines

    def count_lines(self, event: ev.CandidateAdmitted | ev.CandidateRebased) -> None:
        """Count a candidate's lines, if its parent's were counted."""
        if event.parent in self.lines:
            self.lines[event.commit] = self.lines[event.parent] + event.added - event.removed

    def note_slice(self, trial: ev.TrialStarted, score: float) -> None:
        """Note a score with the slice, and its level, that it was measured on."""
        epoch = self._sentinels.current_epoch(trial.slice)
        self._slice_epochs.setdefault(trial.commit, {})[trial.seed] = epoch
        self._at.setdefault(trial.commit, {}).setdefault(trial.seed, {})[epoch] = score

    def add(self, trial: ev.TrialStarted, score: float) -> None:
        """Take in a score of the base or of a head."""
        self.by_commit.setdefault(trial.commit, {})[trial.seed] = score
        if self._run and trial.commit == self._run.base:
            self._ask_for_another()

    def _ask_for_another(self) -> None:
        """Add a baseline seed where one of the scores on these may be far off."""
        baseline, asked = self.baseline(), len(self._baseline_seeds)
        most = self.run.baseline_seeds + MORE_SEEDS
        if len(baseline) == asked < most and doubtful(baseline):
            self._baseline_seeds.append(seed_of(self.run.seed, "baseline", asked))

    def epoch_like(
        self, trial: ev.TrialStarted, score: float, tolerance: float
    ) -> SliceEpoch | None:
        """Return at which earlier level its slice scored this trial's commit and seed alike."""
        known = self._at.get(trial.commit, {}).get(trial.seed, {})
        near = [
            (abs(before - score), epoch)
            for epoch, before in known.items()
            if epoch[0] == trial.slice and abs(before - score) <= tolerance
        ]
        return min(near)[1] if near else None

    def restore(self, epoch: SliceEpoch) -> None:
        """Take heads' scores at a level for what they score now: its slice is back at it."""
        for commit, by_seed in self._at.items():
            for seed, known in by_seed.items():
                if epoch in known:
                    self._slice_epochs[commit][seed] = epoch

    def now(self, commit: str, seed: int) -> float | None:
        """Return what a head scored on a seed the last time, None where it has no score."""
        first = self.by_commit.get(commit, {}).get(seed)
        epoch = self._slice_epochs.get(commit, {}).get(seed)
        return first if epoch is None else self._at[commit][seed].get(epoch, first)

    def add_measures(self, trial: ev.TrialStarted, outcome: Outcome) -> None:
        """Take in what guards watch of one trial."""
        self._measurements.setdefault(trial.commit, {})[trial.seed] = measures(outcome)

    def learn_pairs(self, pairs: list[float]) -> None:
        """Take in how much an experiment's pairs differ among themselves."""
        if len(pairs) > 1:
            if abs(median(pairs)) <= LARGE_GAIN * (self.noise().pair or math.inf):
                self._small_pairs.add(pairs)
            self._pairs.add(pairs)

    def compare_seeds(self, trial: ev.TrialStarted, score: float) -> None:
        """Take in by how much a commit's score on another seed differs from its first one."""
        seed, first = self._first.setdefault(trial.commit, (trial.seed, score))
        if seed != trial.seed and abs(score - first) > ROUNDING * abs(first):
            self._between_seeds.append(score - first)

    def withdraw(self, trial: ev.VoidedTrial) -> None:
        """Take back the score of a trial that became void."""
        if trial.purpose in ev.ISLANDS_OWN:
            self._measurements.get(trial.commit, {}).pop(trial.seed, None)
        if trial.purpose == "screen":
            for by_seed in self._screened.values():
                by_seed.get(trial.seed, {}).pop(trial.commit, None)
        elif trial.purpose in ev.ISLANDS_OWN:
            self.by_commit.get(trial.commit, {}).pop(trial.seed, None)
            self._at.get(trial.commit, {}).pop(trial.seed, None)

    def forget(self, commit: str) -> None:
        """Drop all that was measured of `commit`."""
        for facts in (
            self.by_commit,
            self._measurements,
            self.lines,
            self._slice_epochs,
            self._first,
            self._at,
            self._screened,
        ):
            facts.pop(commit, None)
