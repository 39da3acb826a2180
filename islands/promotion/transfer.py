"""Transfer of gains to a higher rung, and agreement between two rungs.

Pure functions. A gain *transfers* if its lfsr is small, *reverses* if that of its opposite is, and
*fades* in between.

Not covered: pairs whose noise is not normal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from islands import events as ev
from islands.ratchet.noise import Noise
from islands.records import Agreement, Gain, Measured

Vector = NDArray[np.float64]

MAX_LFSR = 0.05
"""The lfsr up to which a gain transfers; from 1 less this on it reverses."""

_DRAWS = 2000
"""Bootstrap draws behind the interval of tau."""


def weighed(pairs: Sequence[float], noise: Noise) -> Gain:
    """Return the mean of `pairs`, its standard error from `noise`, and its lfsr by Student's t."""
    if not pairs:
        return Gain(0.0, 0.0, 0, 1.0)
    error = noise.pair / math.sqrt(len(pairs))
    return _with_lfsr(fmean(pairs), error, len(pairs), noise.known_by)


def _with_lfsr(mean: float, error: float, pairs: int, freedom: int) -> Gain:
    if error <= 0 or freedom < 1:
        lfsr = 0.5 if mean == 0 or error > 0 or freedom < 1 else float(mean < 0)
        return Gain(mean, max(error, 0.0), pairs, lfsr)
    return Gain(mean, error, pairs, round(tail(mean / error, freedom), 12))


def transfer(after: Gain) -> ev.Transfer:
    """Return the verdict on a change whose gain at the higher rung is `after`."""
    if after.lfsr <= MAX_LFSR:
        return "transfers"
    return "reverses" if after.lfsr >= 1 - MAX_LFSR else "fades"


def tail(t: float, freedom: int) -> float:
    """Return the chance that Student's t with `freedom` degrees exceeds `t`."""
    from scipy.special import stdtr  # noqa: PLC0415 - 0.25 s, which only a promotion needs

    return float(stdtr(freedom, -t))


def kendall(one: Vector, other: Vector) -> float:
    """Return Kendall's tau (a) of two rankings of two or more things; ties count as 0."""
    first, second = np.sign(np.subtract.outer(one, one)), np.sign(np.subtract.outer(other, other))
    count = len(one)
    return float((first * second).sum() / (count * (count - 1)))


def agreement(measured: Sequence[Measured], seed: int) -> Agreement | None:
    """Return how alike two rungs rank the same contenders, None for fewer than three.

    The interval is a parametric bootstrap: the middle 95 % of tau over draws of both rungs' gains
    from their standard errors. It is about these contenders, not about others.
    """
    if len(measured) < 3:  # noqa: PLR2004 - two give a tau of 1 or -1
        return None
    before = np.array([[part.before.mean, part.before.noise] for part in measured])
    after = np.array([[part.after.mean, part.after.noise] for part in measured])
    dice = np.random.default_rng(seed)
    draws = [kendall(_redrawn(before, dice), _redrawn(after, dice)) for _ in range(_DRAWS)]
    low, high = np.quantile(draws, [0.025, 0.975])
    tau = kendall(before[:, 0], after[:, 0])
    return Agreement(tau, float(low), float(high), len(measured))


def _redrawn(side: Vector, dice: np.random.Generator) -> Vector:
    return np.asarray(side[:, 0] + side[:, 1] * dice.standard_normal(len(side)), dtype=np.float64)
