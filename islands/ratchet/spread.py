"""Spread of scores that a few far-off ones cannot ruin.

Scores that should be alike come in groups: the base on its seeds, the pairs of one candidate. A
group is taken apart into contrasts, one a degree of freedom, the score farthest from the median in
the last one alone. All contrasts are pooled from the smallest up (a forward search: Atkinson &
Riani, Robust Diagnostic Regression Analysis, 2000): one that is many times as large as what lies
below it, and all beyond it, are far off. They are counted and left out, so that without them the
spread is the usual one, to the last digit.

Not covered: far-off scores that are more than half; tails that grow without a gap count in
full.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

CORE_SHARE = 0.5
"""Share of the contrasts that are never far off: the smallest ones."""

MIN_CORE = 2
"""Contrasts that are never far off, however few there are."""

FAR_SDS = 6.0
"""Standard deviations from which a score is far off, where the spread is well known."""

FAR_SDS_OF_FEW = (math.inf, 318.3, 22.3, 10.2, 7.2)
"""The same where it is known by 0, 1, 2, ... contrasts: Student's t is beyond once in 1,000."""

DOUBTFUL_SDS = 8.0
"""Standard deviations of few others from which another score should tell."""


@dataclass(frozen=True, slots=True)
class PooledSpread:
    """What a number of contrasts say.

    - `squares`: sum of squares of those that are not far off, `freedom` their number
    - `far_off`: number of those that are
    """

    squares: float = 0.0
    freedom: int = 0
    far_off: int = 0


def contrasts(values: Sequence[float]) -> list[float]:
    """Return one contrast less than there are `values`; squared they add up to the usual sum."""
    middle = median(values)
    ordered = sorted(values, key=lambda value: abs(value - middle))
    found, total = [], ordered[0]
    for count, value in enumerate(ordered[1:], 1):
        found.append((value - total / count) * math.sqrt(count / (count + 1)))
        total += value
    return found


def pooled(found: Iterable[float]) -> PooledSpread:
    """Return the spread of contrasts.

    Those that are exactly zero do not count if any is not: a program that is the same again scores
    the same, which says nothing of those that are not.
    """
    sizes = sorted(map(abs, found))
    if sizes and sizes[-1] > 0.0:
        sizes = [size for size in sizes if size > 0.0]
    count = max(min(MIN_CORE, len(sizes)), math.ceil(CORE_SHARE * len(sizes)))
    squares = math.fsum(size**2 for size in sizes[:count])
    for size in sizes[count:]:
        if size**2 > far_limit(count) ** 2 * squares / count:
            break
        squares, count = squares + size**2, count + 1
    return PooledSpread(squares, count, len(sizes) - count)


def doubtful(values: Sequence[float]) -> bool:
    """Return whether one of `values` looks far off, and there are too few others to say so."""
    sizes = sorted(size for size in map(abs, contrasts(values)) if size > 0.0)
    if len(sizes) <= 1 or pooled(sizes).far_off:
        return False
    rest = math.fsum(size**2 for size in sizes[:-1]) / (len(sizes) - 1)
    return sizes[-1] > DOUBTFUL_SDS * math.sqrt(rest)


def far_limit(freedom: int) -> float:
    """Return the standard deviations, known by `freedom`, from which a score is far off."""
    return FAR_SDS_OF_FEW[freedom] if freedom < len(FAR_SDS_OF_FEW) else FAR_SDS


def odd_ones(values: Sequence[float], sd: float, freedom: int) -> list[int]:
    """Return the places of `values` that are far off from the rest, where their `sd` is known.

    Of two that differ by so much both are returned: either may be the far-off one.
    """
    if len(values) <= 1 or sd == 0.0:
        return []
    middle, limit = median(values), far_limit(freedom) * sd
    if len(values) == 2:  # noqa: PLR2004 - the median of two is as far from both
        limit /= math.sqrt(2)
    return [place for place, value in enumerate(values) if abs(value - middle) > limit]
