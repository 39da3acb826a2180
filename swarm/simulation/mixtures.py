"""Distributions of proposals' true effects: mixtures of normals; above zero is better.

How they change in the course of a run is in swarm/simulation/disturbances.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from statistics import NormalDist

_STANDARD = NormalDist()

_HALVINGS = 60
"""Bisections of an interval until its ends are equal in double precision."""


@dataclass(frozen=True, slots=True)
class MixturePart:
    """One kind of proposal: its share, and the normal distribution of its effects.

    With a `sd` of zero the effect is exactly `mean`: proposals that do nothing.
    """

    share: float
    mean: float = 0.0
    sd: float = 0.0

    def above(self, effect: float) -> float:
        """Return the probability of more than `effect`, the share included."""
        if self.sd == 0.0:
            return self.share if self.mean > effect else 0.0
        return self.share * _STANDARD.cdf((self.mean - effect) / self.sd)


@dataclass(frozen=True, slots=True)
class Mixture:
    """A distribution of proposals.

    - `parts`: kinds of proposals, whose shares add up to one
    - `broken`: share of all proposals whose trials fail
    """

    parts: tuple[MixturePart, ...]
    broken: float = 0.0

    def effect(self, pick: float, draw: float) -> float:
        """Return a true effect: `pick`, uniform on [0, 1), chooses the kind, `draw` is normal."""
        for part in self.parts[:-1]:
            if pick < part.share:
                break
            pick -= part.share
        else:
            part = self.parts[-1]
        return part.mean + part.sd * draw

    def above(self, effect: float) -> float:
        """Return the share of proposals whose true effect is more than `effect`."""
        return sum(part.above(effect) for part in self.parts)

    def with_nil_share(self, share: float) -> Mixture:
        """Return the mixture with that share of proposals that do nothing, the rest in proportion.

        Raises ValueError where nothing else is in it.
        """
        others = [part for part in self.parts if (part.mean, part.sd) != (0.0, 0.0)]
        if not others:
            raise ValueError("all proposals of this mixture do nothing")
        scale = (1 - share) / sum(part.share for part in others)
        rest = [replace(part, share=part.share * scale) for part in others]
        return replace(self, parts=(MixturePart(share), *rest))

    @property
    def median(self) -> float:
        """Return the median of the effects above zero. Raises ValueError where there are none."""
        half, low = self.above(0.0) / 2, 0.0
        if half == 0.0:
            raise ValueError("no proposal of this mixture is better than nothing")
        high = max(part.mean + 10 * part.sd for part in self.parts)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.above(middle) > half else (low, middle)
        return high


PUBLISHED = Mixture(
    (
        MixturePart(0.383),
        MixturePart(0.174, -0.001854, 0.004661),
        MixturePart(0.443, -0.000334, 0.000774),
    ),
    broken=0.016,
)
"""One published log of autoresearch (125 proposals on one H100, val_bpb, 0.9979 to 0.9697).

Fitted to its log by `python -m tests.benchmarks.fit_mixture`: the heads' true scores are hidden
states, and the noise of a score is 0.0004 (likelihoods from 0.0003 to 0.0005 are within one unit of
each other; the log's own change of nothing but the seed moved the score by 0.0007). Differences to
the head as logged would be biased: each head's score was kept because it was lucky. Two of 125
broke.
"""

HARSH = Mixture(
    (MixturePart(0.25), MixturePart(0.70, -0.001, 0.0015), MixturePart(0.05, 0.002, 0.001)),
    broken=0.016,
)
"""Most proposals harm and one in twenty is meant to help, as in a well-tuned code base."""

TUNED = Mixture(
    (MixturePart(0.88), MixturePart(0.10, -0.001, 0.001), MixturePart(0.02, 0.004, 0.001))
)
"""Most proposals do nothing and one in fifty helps much: a well-tuned code base, a late night."""

TINY = Mixture(
    (MixturePart(0.50), MixturePart(0.25, -0.0005, 0.0005), MixturePart(0.25, 0.0003, 0.0002))
)
"""Gains are many and small."""

UNTUNED = Mixture(
    (
        MixturePart(0.30),
        MixturePart(0.55, -0.002, 0.002),
        MixturePart(0.12, 0.001, 0.001),
        MixturePart(0.03, 0.01, 0.002),
    )
)
"""A seed that nobody tuned: a few gains are ten times as large as the others."""

NULL = Mixture((MixturePart(1.0),))
"""No proposal has an effect: every keep is luck."""

MIXTURES: Mapping[str, Mixture] = {
    "published": PUBLISHED,
    "harsh": HARSH,
    "tuned": TUNED,
    "tiny": TINY,
    "untuned": UNTUNED,
    "null": NULL,
}


@cache
def unit(mixture: Mixture) -> float:
    """Return the unit of sigma: the median effect above zero, PUBLISHED's where there is none."""
    return mixture.median if mixture.above(0.0) else PUBLISHED.median
