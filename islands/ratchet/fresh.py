"""Check of a gain on fresh data: whether it is there on what no sandbox has ever been shown.

Before a candidate is kept, it and the head run once more on a seed of their own, and what each left
is scored twice: on dev, as always, and on a piece of fresh data (`harness.tasks.gpt.fresh`). Both
scores are of the same weights, so the noise of training cancels in the difference of the two gains;
what is left is the noise of the text, which parts of both tell: the standard errors of the mean
gains over the parts. A gain that falls short on fresh data by more than that noise explains was
bought with what sandboxes had been shown: the candidate is invalid (`islands.quarantine`).

Not covered: gains that differ by nature between dev and fresh data, where a user's own are not
drawn alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from harness.contract import Direction
from islands.ratchet.noise import gain_of
from islands.records import Gain

MAX_CHANCE = 1e-5
"""Chance up to which an honest gain is taken for one that fits what it was shown."""

FITS = "it fits what it was shown: its gain is not there on fresh data"
"""What the record says of a candidate whose gain does not hold; agents are told less."""

Parts = Mapping[str, Sequence[float]]
"""A commit's scores on the parts of `dev` and of `fresh`."""


@dataclass(frozen=True, slots=True)
class FreshGains:
    """The gains of one pair of trials on dev and on fresh data.

    dev, fresh: mean and standard error over `pairs` parts
    chance: that an honest gain falls so short, or shorter
    """

    dev: Gain
    fresh: Gain
    chance: float

    @property
    def holds(self) -> bool:
        """Whether the gain on dev is there on fresh data, within the noise."""
        return self.chance > MAX_CHANCE


def compare(head: Parts, own: Parts, direction: Direction) -> FreshGains:
    """Return the gains of a candidate's scores over its head's, part by part."""
    dev, fresh = (_gain(head[name], own[name], direction) for name in ("dev", "fresh"))
    return FreshGains(dev, fresh, _chance(dev, fresh))


def _gain(head: Sequence[float], own: Sequence[float], direction: Direction) -> Gain:
    gains = [gain_of(before, after, direction) for before, after in zip(head, own, strict=True)]
    error = math.sqrt(variance(gains) / len(gains)) if len(gains) > 1 else 0.0
    return Gain(fmean(gains), error, len(gains))


def _chance(dev: Gain, fresh: Gain) -> float:
    """Return the chance of so large a difference by noise: Welch's test, one-sided."""
    from scipy.special import stdtr  # noqa: PLC0415 - 0.25 s, which only a keep needs

    short, error = dev.mean - fresh.mean, math.hypot(dev.noise, fresh.noise)
    if error <= 0:
        return float(short <= 0)
    freedom = error**4 / sum(
        gain.noise**4 / (gain.pairs - 1) for gain in (dev, fresh) if gain.pairs > 1
    )
    return float(stdtr(freedom, -short / error))
