"""What a run learns of its screens: how noisy they are, and what to believe of the next proposal.

It is brought up to date every few screens and depends on nothing but what has been folded in, so
that a resumed run decides as the one that stopped would have.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection
from statistics import median

from islands.belief import Belief, learn
from islands.ratchet import SURE, Noise

REMEMBERED = 1024
"""Screened gains, the latest, that are learnt from."""

RELEARN = 8
"""Screens after which what is learnt is brought up to date."""

ENOUGH = 32
"""Screens that changed a score, from which on half of them say how noisy a pair is at most."""


class Screens:
    """The gains that agents' own proposals were screened at.

    `within` is the size that half of them stay below (inf while too few are known).
    """

    def __init__(self) -> None:
        self.within = math.inf
        self._count = 0
        self._gains: deque[tuple[int, float]] = deque(maxlen=REMEMBERED)
        self._settled: list[float] = []
        self._belief: tuple[Noise, Belief] | None = None

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

    def belief(self, noise: Noise) -> Belief:
        """Return what is believed of proposals' gains where a pair is as noisy as `noise` says."""
        if self._belief is None or self._belief[0] != noise:
            unit = noise.unit or 1.0
            # fewer degrees of freedom would fit heavy tails and find nothing promising: what is
            # promising costs a trial at worst, and is kept by the degrees of freedom that there are
            known = learn([gain / unit for gain in self._settled], max(noise.known_by, SURE))
            self._belief = (noise, known)
        return self._belief[1]

    def _settle(self) -> None:
        self._settled = [gain for _, gain in self._gains]
        self._belief = None
        # a change that does nothing to a program that is the same again gains 0 to the last digit
        sizes = [abs(gain) for gain in self._settled if gain]
        self.within = median(sizes) if len(sizes) >= ENOUGH else math.inf
