"""The gains at which a run's proposals were screened, and the prior learned from them.

The prior is updated every few screens and depends on nothing but the screens folded in, so that a
resumed run decides as the one that stopped would have.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
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
        self._learnt: tuple[Noise, GainPrior] | None = None
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

    def prior(self, noise: Noise, earned: Earned) -> GainPrior:
        """Return the prior of true gains where a pair is as noisy as `noise` says.

        Its bar is as high as what the run has `earned` says, in the metric's unit.
        """
        learnt = self._learn(noise)
        if self._prior is None or self._prior[:2] != (noise, earned):
            unit = learnt.unit * (noise.pair or 1.0)
            own = Earned(earned.gain / unit, earned.trials)
            self._prior = (noise, earned, with_earned(learnt, noise.known_by, own))
        return self._prior[2]

    def _learn(self, noise: Noise) -> GainPrior:
        """Return the prior as the screens alone teach it."""
        if self._learnt is None or self._learnt[0] != noise:
            unit = noise.pair or 1.0
            prior = learn(
                [gain / unit for gain in self._learned],
                noise.known_by,
                [one.over(unit) for one in self._confirmed],
            )
            self._learnt = (noise, prior)
            self._prior = None
        return self._learnt[1]

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
