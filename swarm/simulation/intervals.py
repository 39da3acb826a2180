"""Means and shares over nights, with 95 % intervals that know that a night is one draw.

What happens within a night hangs together, so that a ratio of totals (harmful keeps to all keeps)
has the spread that nights have (linearised: Cochran, Sampling Techniques, 1977, chapter 6), and
not that of independent keeps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its standard error (infinite from one night) and 95 % interval."""

    mean: float
    error: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole, both counted over all nights; the share is nan where there is nothing."""

    part: int
    whole: int
    share: float
    low: float
    high: float


def mean_of(values: Sequence[float]) -> Estimate:
    """Return the mean of one value a night."""
    return ratio_of(values, [1.0] * len(values))


def ratio_of(parts: Sequence[float], wholes: Sequence[float]) -> Estimate:
    """Return the parts' total by the wholes', a pair a night; all nan where there is no whole."""
    nights, whole = len(parts), math.fsum(wholes)
    if whole == 0.0:
        return Estimate(math.nan, math.nan, math.nan, math.nan)
    mean = math.fsum(parts) / whole
    if nights < 2:  # noqa: PLR2004 - one night has no spread
        return Estimate(mean, math.inf, -math.inf, math.inf)
    squares = ((part - mean * each) ** 2 for part, each in zip(parts, wholes, strict=True))
    error = math.sqrt(math.fsum(squares) * nights / (nights - 1)) / whole
    margin = student(nights - 1) * error
    return Estimate(mean, error, mean - margin, mean + margin)


def share_of(parts: Sequence[int], wholes: Sequence[int]) -> Share:
    """Return a share with Wilson's interval, which also holds where nothing or all was found.

    Its count is cut down by how much more nights differ than independent draws would.
    """
    part, whole = sum(parts), sum(wholes)
    if whole == 0:
        return Share(0, 0, math.nan, math.nan, math.nan)
    share, error = part / whole, ratio_of(parts, wholes).error
    binomial = share * (1 - share) / whole
    clustered = math.isfinite(error) and binomial > 0.0
    count = whole / max(1.0, error**2 / binomial) if clustered else float(whole)
    centre = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    margin = math.sqrt(share * (1 - share) / count + (_Z / (2 * count)) ** 2)
    margin *= _Z / (1 + _Z**2 / count)
    return Share(part, whole, share, max(0.0, centre - margin), min(1.0, centre + margin))


def student(freedom: int) -> float:
    """Return Student's 97.5 % quantile (exact for 1 and 2 degrees of freedom, else within 1 %).

    Abramowitz and Stegun, 26.7.5.
    """
    if freedom == 1:
        return math.tan(0.475 * math.pi)
    if freedom == 2:  # noqa: PLR2004 - its quantile has a closed form
        return 0.95 / math.sqrt(2 * 0.975 * 0.025)
    z, v = _Z, freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )
