"""Noise of a score between seeds, and the gain of paired scores with its standard error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from harness.contract import Direction
from islands.records import Gain

LOOKS = 50
"""Pairs without a far-off one that a run is taken to have seen, and half of one far off.

Fewer would make it doubt every gain until it has seen as many itself.
"""


JUDGING_FREEDOM = 6
"""Degrees of freedom from which pairs, or the base's scores, can show what was far off or misleads.
"""

MISLEADING_RATIO = 6.0
"""Variance of the baseline, in that of pairs, from which pairs alone say how noisy one is.

The baseline can only guess: pairs have their seed in common, and one of its few scores may be off.
In a run of `gpt` it varied by 0.024, as its first trial was off by 0.06, and pairs by 0.0105; ten
screens of 0.02 to 0.033 were discarded below a bar of 0.035 to 0.045.
"""


@dataclass(frozen=True, slots=True)
class Noise:
    """The spread of a score between seeds as the run knows it, in the metric's own unit.

    Pairs on common seeds vary less than independent scores do; `residual` and `freedom` are how
    the run learns by how much.

    - `sigma`: standard deviation of the base's baseline scores
    - `seeds`: number of baseline seeds that `sigma` was estimated from
    - `residual`: sum of squares of paired differences around their means, over confirmations; what
      was far off is left out (islands/ratchet/spread.py)
    - `freedom`: degrees of freedom of `residual`
    - `far_off`: how many of all scores and differences were far off
    - `floor`: what is nearer to no gain than this is rounding
    """

    sigma: float
    seeds: int
    residual: float = 0.0
    freedom: int = 0
    far_off: int = 0
    floor: float = 0.0

    @property
    def tails(self) -> float:
        """Return the expected share of pairs that are far off."""
        return (self.far_off + 0.5) / (self.known_by + self.far_off + LOOKS)

    @property
    def pair(self) -> float:
        """Return the standard deviation of one paired difference, pooled over baseline and pairs.

        Two independent scores differ with twice the variance of one, hence the factor 2.
        """
        if self.known_by == 0:
            return 0.0
        squares = self._baseline_freedom * 2 * self.sigma**2 + self.residual
        return math.sqrt(squares / self.known_by)

    @property
    def known_by(self) -> int:
        """Return the degrees of freedom of `pair`."""
        return self._baseline_freedom + self.freedom

    @property
    def _baseline_freedom(self) -> int:
        if self.freedom >= JUDGING_FREEDOM:
            variance = self.residual / self.freedom
            if 2 * self.sigma**2 > MISLEADING_RATIO * variance > 0.0:
                return 0
        return max(self.seeds - 1, 0)


def gain_of(head: float, candidate: float, direction: Direction) -> float:
    """Return the gain of `candidate` over `head`: above zero is better, whatever the metric."""
    return head - candidate if direction == "minimize" else candidate - head


def spread(scores: Sequence[float]) -> float:
    """Return the standard deviation of baseline `scores` between seeds (0.0 for fewer than 2)."""
    if len(scores) <= 1:
        return 0.0
    mean = fmean(scores)
    return math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / (len(scores) - 1))


def weigh(pairs: Sequence[float], noise: Noise) -> Gain:
    """Return the mean of `pairs` with its standard error, their spread pooled with the run's."""
    mean = fmean(pairs)
    residual = sum((pair - mean) ** 2 for pair in pairs)
    freedom = noise.freedom + len(pairs) - 1
    pooled = replace(noise, residual=noise.residual + residual, freedom=freedom)
    return Gain(mean, pooled.pair / math.sqrt(len(pairs)), len(pairs))
