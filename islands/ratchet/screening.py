"""What a run learns of its screens: what to believe of the next proposal.

It is brought up to date every few screens and depends on nothing but what has been folded in, so
that a resumed run decides as the one that stopped would have.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from islands.ratchet.noise import Noise
from islands.ratchet.prior import GainPrior, learn

REMEMBERED = 1024
"""Screened gains, the latest, that are learnt from."""

RELEARN = 8
"""Screens after which what is learnt is brought up to date."""


class Screens:
    """The gains that agents' own proposals were screened at."""

    def __init__(self) -> None:
        self._count = 0
        self._gains: deque[tuple[int, float]] = deque(maxlen=REMEMBERED)
        self._settled: list[float] = []
        self._belief: tuple[Noise, GainPrior] | None = None

    def __len__(self) -> int:
        return len(self._gains)

    def add(self, experiment: int, gain: float) -> None:
        """Take in the gain that an experiment was screened at."""
        self._gains.append((experiment, gain))
        self._count += 1
        if self._count % RELEARN == 0:
            self._settle()

    def drop(self, experiments: Collection[int]) -> None:
        """Forget the screens of `experiments`: their trials have become void."""
        left = [(number, gain) for number, gain in self._gains if number not in experiments]
        self._gains = deque(left, maxlen=REMEMBERED)
        self._settle()

    def prior(self, noise: Noise) -> GainPrior:
        """Return what is believed of proposals' gains where a pair is as noisy as `noise` says."""
        if self._belief is None or self._belief[0] != noise:
            unit = noise.pair or 1.0
            known = learn([gain / unit for gain in self._settled], noise.known_by)
            self._belief = (noise, known)
        return self._belief[1]

    def _settle(self) -> None:
        self._settled = [gain for _, gain in self._gains]
        self._belief = None
