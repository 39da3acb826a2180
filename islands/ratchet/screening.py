"""The gains at which a run's proposals were screened, and the prior learned from them.

The prior is updated every few screens and depends on nothing but the screens folded in, so that a
resumed run decides as the one that stopped would have.

Claims are judged by the noise of all pairs, trials are spent by that of small gains. A large gain
differs more from seed to seed, and the first keeps of a run are large: in two of four runs of `gpt`
they held the bar at 0.03 to 0.04 for five minutes, over screens of 0.02 to 0.03 that later turned
out to be gains, where now it is 0.015 to 0.024. In simulation 27 cells of 30 nights gain 1.00 of
what they did. (With claims judged by the noise of small gains too: 0.93, as fewer pairs tell it.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import replace
from statistics import median

from islands.ratchet.learnt_prior import ConfirmedGain, Earned, learn, with_earned
from islands.ratchet.noise import Noise
from islands.ratchet.prior import GainPrior

MAX_REMEMBERED = 1024
"""Latest screened gains that are learned from."""

RELEARN_EVERY = 8
"""Screens after which the prior is learned again."""


class ScreenedGains:
    """The latest screened gains of agents' own proposals, in the metric's unit."""

    def __init__(self) -> None:
        self._count = 0
        self._gains: deque[tuple[int, float]] = deque(maxlen=MAX_REMEMBERED)
        self._pairs: dict[int, tuple[float, int]] = {}
        self._learned: list[float] = []
        self._confirmed: list[ConfirmedGain] = []
        self._learnt: tuple[tuple[Noise, Noise], GainPrior, GainPrior] | None = None
        self._prior: tuple[Noise, Earned, GainPrior] | None = None

    def __len__(self) -> int:
        return len(self._gains)

    def add(self, experiment: int, gain: float) -> None:
        """Add the gain that an experiment was screened at."""
        self._gains.append((experiment, gain))
        self._count += 1
        if self._count % RELEARN_EVERY == 0:
            self._update()

    def confirm(self, experiment: int, pairs: Sequence[float]) -> None:
        """Add what the fresh pairs of an experiment showed; its screen was added before."""
        if pairs:
            self._pairs[experiment] = (median(pairs), len(pairs))

    def drop(self, experiments: Collection[int]) -> None:
        """Forget the screens of `experiments`, whose trials have become void."""
        valid = [(number, gain) for number, gain in self._gains if number not in experiments]
        self._gains = deque(valid, maxlen=MAX_REMEMBERED)
        self._update()

    def prior(self, noise: Noise, earned: Earned, of_small: Noise | None = None) -> GainPrior:
        """Return the prior of true gains where a pair is as noisy as `noise` says.

        Its rate and its bar are those of pairs as noisy as `of_small` says, of small gains, which
        trials are spent on telling apart, and at most what the run has `earned`, in the metric's
        unit.
        """
        of_small = of_small or noise
        judging, spending = self._learn(noise, of_small)
        if self._prior is None or self._prior[:2] != (noise, earned):
            unit = spending.unit * (of_small.pair or 1.0)
            own = Earned(earned.gain / unit, earned.trials)
            spent = with_earned(spending, of_small.known_by, own)
            ratio = unit / (judging.unit * (noise.pair or 1.0))
            prior = replace(judging, rate=spent.rate * ratio, bar=spent.bar * ratio)
            self._prior = (noise, earned, prior)
        return self._prior[2]

    def _learn(self, noise: Noise, of_small: Noise) -> tuple[GainPrior, GainPrior]:
        """Return the priors as the screens alone teach them: to judge by, and to spend by."""
        if self._learnt is None or self._learnt[0] != (noise, of_small):
            judging = self._learn_at(noise)
            spending = judging if of_small == noise else self._learn_at(of_small)
            self._learnt = ((noise, of_small), judging, spending)
            self._prior = None
        return self._learnt[1:]

    def _learn_at(self, noise: Noise) -> GainPrior:
        unit = noise.pair or 1.0
        return learn(
            [gain / unit for gain in self._learned],
            noise.known_by,
            [one.over(unit) for one in self._confirmed],
        )

    def _update(self) -> None:
        self._learned = [gain for _, gain in self._gains]
        self._pairs = {
            number: self._pairs[number] for number, _ in self._gains if number in self._pairs
        }
        self._confirmed = [
            ConfirmedGain(gain, *self._pairs[number])
            for number, gain in self._gains
            if number in self._pairs
        ]
        self._learnt = None
