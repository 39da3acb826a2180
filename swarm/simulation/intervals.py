"""Means, ratios and shares over independent runs, with 95 % intervals.

What happens within a run is correlated, so a ratio of totals (false keeps to all keeps) has the
spread between runs (linearised: Cochran, Sampling Techniques, 1977, chapter 6), not that of
independent keeps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import ndtri, stdtrit

LEVEL = 0.975
"""Quantile at the upper end of a two-sided 95 % interval."""

_Z = float(ndtri(LEVEL))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its standard error (infinite from one run) and 95 % interval."""

    mean: float
    error: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its 95 % interval; all three are nan where the whole is 0.

    - `part`, `whole`: counts over all runs
    """

    part: int
    whole: int
    share: float
    low: float
    high: float


def mean_of(values: Sequence[float]) -> Estimate:
    """Return the mean of one value a run."""
    return ratio_of(values, [1.0] * len(values))


def ratio_of(parts: Sequence[float], wholes: Sequence[float]) -> Estimate:
    """Return the parts' total by the wholes', a pair a run; all nan where there is no whole."""
    runs, whole = len(parts), math.fsum(wholes)
    if whole == 0.0:
        return Estimate(math.nan, math.nan, math.nan, math.nan)
    mean = math.fsum(parts) / whole
    if runs < 2:  # noqa: PLR2004 - one run has no spread
        return Estimate(mean, math.inf, -math.inf, math.inf)
    squares = ((part - mean * base) ** 2 for part, base in zip(parts, wholes, strict=True))
    error = math.sqrt(math.fsum(squares) * runs / (runs - 1)) / whole
    margin = float(stdtrit(runs - 1, LEVEL)) * error
    return Estimate(mean, error, mean - margin, mean + margin)


def share_of(parts: Sequence[int], wholes: Sequence[int]) -> Share:
    """Return a share with Wilson's interval, which also holds where none or all were counted.

    The effective count is smaller by as much as runs vary more than independent draws would.
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
