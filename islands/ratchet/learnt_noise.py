"""The noise of a run as its scores show it: those of the base, and pairs of head and candidate.

The same scores are asked for several times a trial and change once, so that the latest answers are
kept.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from statistics import median

from islands.ratchet.noise import JUDGING_FREEDOM, Noise
from islands.ratchet.spread import PooledSpread, contrasts, far_limit, pooled

ROUNDING = 1e-12
"""Differences of scores that are arithmetic's, as a share of the score."""

MAX_RATIO = 100.0
"""Variance of the baseline beyond that of pairs which common seeds do not explain: ten spreads."""


@lru_cache(maxsize=32)
def learnt_noise(
    baseline: tuple[float, ...],
    of_base: tuple[float, ...],
    pairs: PooledSpread,
    between_seeds: tuple[float, ...],
) -> Noise:
    """Return what is known of a score's spread between seeds; far-off scores are left out.

    `baseline` are the base's scores on the baseline seeds, `of_base` all that it has, `pairs` the
    contrasts of pairs on common seeds, `between_seeds` differences of one commit's scores. A base
    that scores the same on every seed says nothing once something else has varied.
    """
    near = _near(baseline, of_base)
    floor = ROUNDING * max(map(abs, baseline), default=0.0)
    base = pooled(contrasts(near)) if near else PooledSpread()
    base = replace(base, far_off=base.far_off + len(baseline) - len(near))
    if pairs.freedom and pairs.squares > 0.0:
        misjudged = base.squares == 0.0 or (
            pairs.freedom >= JUDGING_FREEDOM
            and base.squares / base.freedom * 2 > MAX_RATIO * pairs.squares / pairs.freedom
        )
        if misjudged:
            off = pairs.far_off + (base.freedom if base.squares else 0)
            return _of_pairs(replace(pairs, far_off=off), floor)
    elif base.squares <= floor**2 * base.freedom and between_seeds:
        return _of_pairs(pooled(between_seeds), floor)
    sigma = math.sqrt(base.squares / base.freedom) if base.freedom else 0.0
    if sigma <= floor:
        sigma = 0.0
    seeds = base.freedom + 1 if near else 0
    off = base.far_off + pairs.far_off
    return Noise(sigma, seeds, pairs.squares, pairs.freedom, off, floor)


def _of_pairs(pairs: PooledSpread, floor: float) -> Noise:
    """Return the noise that differences of scores show where the baseline shows none."""
    sigma = math.sqrt(pairs.squares / pairs.freedom / 2)
    return Noise(sigma, 0, pairs.squares, pairs.freedom, pairs.far_off, floor)


def _near(baseline: tuple[float, ...], of_base: tuple[float, ...]) -> tuple[float, ...]:
    """Return the baseline's scores that all scores of the base do not show to be far off.

    Few baseline seeds cannot tell which of them is; the base is measured again in pairs.
    """
    if len(of_base) <= JUDGING_FREEDOM:
        return baseline
    known = pooled(contrasts(of_base))
    sd = math.sqrt(known.squares / known.freedom) if known.squares else math.inf
    middle, limit = median(of_base), far_limit(known.freedom) * sd
    return tuple(score for score in baseline if abs(score - middle) <= limit) or baseline
