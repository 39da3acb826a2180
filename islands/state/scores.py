"""Scores of the commits that the run still needs, and what follows from them: noise, pairs, means.

A commit's scores, and the numbers that guards watch, are forgotten once no island builds on it. The
spread of pairs is that of the latest REMEMBERED experiments: as heads change, so may it.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from statistics import fmean, median

from harness.contract import Direction, Outcome
from islands import events as ev
from islands.drift import Sentinels, SliceEpoch
from islands.ratchet.guards import measures
from islands.ratchet.noise import Noise, gain_of, spread
from islands.ratchet.spread import PooledSpread, contrasts, far_limit, odd_ones, pooled
from islands.rng import seed_of
from islands.state.population import Experiment

REMEMBERED = 64
"""Latest experiments whose pairs say how noisy a pair is."""

ROUNDING = 1e-12
"""Differences of scores that are arithmetic's, as a share of the score."""

JUDGING_FREEDOM = 6
"""Degrees of freedom from which pairs, or scores of the base, can show that one was far off."""

MAX_RATIO = 100.0
"""Variance of the baseline beyond that of pairs which common seeds do not explain: ten spreads."""


class Scores:
    """The fold of what was measured.

    `by_commit` has scores by commit and seed: all of the base and of heads, screening left out.
    `lines` counts the genome's lines, where the base's were counted.
    """

    def __init__(self, sentinels: Sentinels) -> None:
        self.by_commit: dict[str, dict[int, float]] = {}
        self.lines: dict[str, int] = {}
        self._sentinels = sentinels
        self._run: ev.RunOpened | None = None
        self._measurements: dict[str, dict[int, dict[str, float]]] = {}
        self._slice_epochs: dict[str, dict[int, SliceEpoch]] = {}
        self._pairs: deque[list[float]] = deque(maxlen=REMEMBERED)
        self._between_seeds: deque[float] = deque(maxlen=REMEMBERED)
        self._first: dict[str, tuple[int, float]] = {}
        self._spread_of_pairs = PooledSpread()

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
        run = self.run
        return [seed_of(run.seed, "baseline", k) for k in range(run.baseline_seeds)]

    def baseline(self) -> list[float]:
        """Return the base's scores on the baseline seeds measured so far."""
        scores = self.by_commit.get(self.run.base, {})
        return [scores[seed] for seed in self.baseline_seeds() if seed in scores]

    def noise(self) -> Noise:
        """Return what is known of a score's spread between seeds; far-off scores are left out.

        A base that scores the same on every seed says nothing once something else has varied.
        """
        every = self._levelled(self.baseline())
        baseline, pairs = self._near(every), self._spread_of_pairs
        floor = ROUNDING * max(map(abs, every), default=0.0)
        base = pooled(contrasts(baseline)) if baseline else PooledSpread()
        base = replace(base, far_off=base.far_off + len(every) - len(baseline))
        if pairs.freedom and pairs.squares > 0.0:
            misjudged = base.squares == 0.0 or (
                pairs.freedom >= JUDGING_FREEDOM
                and base.squares / base.freedom * 2 > MAX_RATIO * pairs.squares / pairs.freedom
            )
            if misjudged:
                sigma = math.sqrt(pairs.squares / pairs.freedom / 2)
                off = pairs.far_off + (base.freedom if base.squares else 0)
                return Noise(sigma, 0, pairs.squares, pairs.freedom, off, floor)
        elif base.squares <= floor**2 * base.freedom and self._between_seeds:
            between = pooled(self._between_seeds)
            sigma = math.sqrt(between.squares / between.freedom / 2)
            return Noise(sigma, 0, between.squares, between.freedom, between.far_off, floor)
        sigma = math.sqrt(base.squares / base.freedom) if base.freedom else 0.0
        if sigma <= floor:
            sigma = 0.0
        seeds = base.freedom + 1 if baseline else 0
        off = base.far_off + pairs.far_off
        return Noise(sigma, seeds, pairs.squares, pairs.freedom, off, floor)

    def _near(self, baseline: list[float]) -> list[float]:
        """Return the baseline's scores that all scores of the base do not show to be far off.

        Few baseline seeds cannot tell which of them is; the base is measured again in pairs.
        """
        scores = (*self.by_commit.get(self.run.base, {}).values(),) if self._run else ()
        if len(scores) <= JUDGING_FREEDOM:
            return baseline
        middle, limit = _near_range(scores)
        return [score for score in baseline if abs(score - middle) <= limit] or baseline

    def _levelled(self, baseline: list[float]) -> list[float]:
        """Return the baseline's scores less the differences between the slices that ran it."""
        epochs_by_seed = self._slice_epochs.get(self.run.base, {}) if self._run else {}
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

    def usable_seeds(self, commit: str) -> list[int]:
        """Return the seeds on which a head's score is not far off its others; all if that is none.

        A candidate that is screened on another seed would look as much better than the head.
        """
        scores = self.by_commit[commit]
        noise = self.noise()
        sd = max(noise.sigma, noise.pair / math.sqrt(2))
        odd = odd_ones([*scores.values()], sd, noise.known_by)
        return [seed for n, seed in enumerate(scores) if n not in odd] or [*scores]

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
        head = self.by_commit[experiment.parent].get(seed)
        if head is None:
            return None
        head_epoch = self._slice_epochs[experiment.parent][seed]
        own_epoch = self._slice_epochs[experiment.commit][seed]
        off = self._sentinels.level_difference(head_epoch, own_epoch, self.noise().pair)
        return gain_of(head - off, score, self.direction)

    def open(self, event: ev.RunOpened) -> None:
        """Take in the run's base and seed."""
        self._run = event
        if event.lines:
            self.lines[event.base] = event.lines

    def count_lines(self, event: ev.CandidateAdmitted | ev.CandidateRebased) -> None:
        """Count a candidate's lines, if its parent's were counted."""
        if event.parent in self.lines:
            self.lines[event.commit] = self.lines[event.parent] + event.added - event.removed

    def note_slice(self, trial: ev.TrialStarted) -> None:
        """Note which slice, at which level of its own, ran a trial that has a score."""
        epoch = self._sentinels.current_epoch(trial.slice)
        self._slice_epochs.setdefault(trial.commit, {})[trial.seed] = epoch

    def add(self, trial: ev.TrialStarted, score: float) -> None:
        """Take in a score of the base or of a head."""
        self.by_commit.setdefault(trial.commit, {})[trial.seed] = score

    def add_measures(self, trial: ev.TrialStarted, outcome: Outcome) -> None:
        """Take in what guards watch of one trial."""
        self._measurements.setdefault(trial.commit, {})[trial.seed] = measures(outcome)

    def learn_pairs(self, pairs: list[float]) -> None:
        """Take in how much an experiment's pairs differ among themselves."""
        if len(pairs) > 1:
            self._pairs.append(contrasts(pairs))
            self._spread_of_pairs = pooled(chain.from_iterable(self._pairs))

    def compare_seeds(self, trial: ev.TrialStarted, score: float) -> None:
        """Take in by how much a commit's score on another seed differs from its first one."""
        seed, first = self._first.setdefault(trial.commit, (trial.seed, score))
        if seed != trial.seed and abs(score - first) > ROUNDING * abs(first):
            self._between_seeds.append(score - first)

    def withdraw(self, trial: ev.VoidedTrial) -> None:
        """Take back the score of a trial that became void."""
        if trial.purpose in ev.ISLANDS_OWN:
            self._measurements.get(trial.commit, {}).pop(trial.seed, None)
        if trial.purpose in ev.ISLANDS_OWN and trial.purpose != "screen":
            self.by_commit.get(trial.commit, {}).pop(trial.seed, None)

    def forget(self, commit: str) -> None:
        """Drop all that was measured of `commit`."""
        for facts in (
            self.by_commit,
            self._measurements,
            self.lines,
            self._slice_epochs,
            self._first,
        ):
            facts.pop(commit, None)


@lru_cache(maxsize=8)
def _near_range(scores: tuple[float, ...]) -> tuple[float, float]:
    """Return the median of `scores`, and how far from it one may lie that is not far off.

    The noise is asked for several times a trial, and these change once in a while.
    """
    known = pooled(contrasts(scores))
    sd = math.sqrt(known.squares / known.freedom) if known.squares else math.inf
    return median(scores), far_limit(known.freedom) * sd
