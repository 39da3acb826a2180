"""Betting against a candidate: evidence of a gain that needs no belief about gains, and its price.

An e-value is what a gambler's stake has grown to who may bet that the gain is above zero; if it is
not, the stake is not expected to grow, whenever one stops to look. The bet is a mixture of
sequential probability ratio tests over half-normal gains (Robbins, "Statistical methods related to
the law of the iterated logarithm", 1970). e-LOND asks more of each further test and less after each
keep, and so holds the false discovery rate of all keeps together (Xu & Ramdas, "Online multiple
testing with e-values", AISTATS 2024).

Not covered: a spread that is itself only estimated. It is taken as known.
"""

from __future__ import annotations

import math
from statistics import NormalDist

SCALE = 2.0
"""Width of the gains that are bet on, in standard deviations of a pair."""

_MOST = 700.0
"""Where exponents end: a bet that has grown so far needs no more."""


def wealth(mean: float, pairs: int) -> float:
    """Return the e-value of a `mean` gain over `pairs`, in standard deviations of a pair."""
    total, spread = mean * pairs, 1 + pairs * SCALE**2
    exponent = min(0.5 * (SCALE * total) ** 2 / spread, _MOST)
    share = NormalDist().cdf(SCALE * total / math.sqrt(spread))
    return 2 * share * math.exp(exponent) / math.sqrt(spread)


def price(fdr: float, turn: int, kept: int) -> float:
    """Return the e-value that test number `turn`, from 1, must reach after `kept` keeps."""
    return turn * (turn + 1) / (fdr * (kept + 1))
