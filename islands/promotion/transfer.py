"""What pairs at a higher rung say of a gain at the lower one, and how far two rungs agree.

All of it is pure. A gain *transfers* where little doubt is left that it is above zero, *reverses*
where little is left that it is not, and *fades* between the two.

Not covered: pairs whose noise is no normal one.
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

CERTAIN = 0.05
"""Doubt below which a gain transfers; above its counterpart it reverses."""

_DRAWS = 2000


def weighed(pairs: Sequence[float], noise: Noise) -> Gain:
    """Return the mean of `pairs`, its error by the spread `noise`, and the doubt by Student's t."""
    if not pairs:
        return Gain(0.0, 0.0, 0, 1.0)
    error = noise.pair / math.sqrt(len(pairs))
    return _doubted(fmean(pairs), error, len(pairs), noise.known_by)


def _doubted(mean: float, error: float, pairs: int, freedom: int) -> Gain:
    if error <= 0 or freedom < 1:
        lfsr = 0.5 if mean == 0 or error > 0 or freedom < 1 else float(mean < 0)
        return Gain(mean, max(error, 0.0), pairs, lfsr)
    return Gain(mean, error, pairs, round(tail(mean / error, freedom), 12))


def transfer(after: Gain) -> ev.Transfer:
    """Return what a gain at the higher rung says of a change that gained at the lower one."""
    if after.lfsr <= CERTAIN:
        return "transfers"
    return "reverses" if after.lfsr >= 1 - CERTAIN else "fades"


def tail(t: float, freedom: int) -> float:
    """Return the chance that Student's t with `freedom` degrees exceeds `t`.

    With t = sqrt(freedom) tan a its density is that of cos(a) to the power freedom - 1; the
    trapezoidal rule over 4,001 points is good to 1e-6.
    """
    angle = math.atan(abs(t) / math.sqrt(freedom))
    whole = np.linspace(0.0, math.pi / 2, 4001)
    above = np.linspace(angle, math.pi / 2, 4001)
    mass = [np.trapezoid(np.cos(at) ** (freedom - 1), at) for at in (whole, above)]
    share = float(mass[1] / mass[0]) / 2
    return share if t >= 0 else 1 - share


def kendall(one: Vector, other: Vector) -> float:
    """Return Kendall's tau (a) of two rankings of two or more things; ties count for neither."""
    first, second = np.sign(np.subtract.outer(one, one)), np.sign(np.subtract.outer(other, other))
    count = len(one)
    return float((first * second).sum() / (count * (count - 1)))


def agreement(measured: Sequence[Measured], seed: int) -> Agreement | None:
    """Return how far two rungs rank the same contenders alike, None for fewer than three.

    The interval is a parametric bootstrap: both rungs' gains are drawn anew from their errors, and
    tau is taken of each draw (middle 95 %). It tells of these contenders, not of others.
    """
    if len(measured) < 3:  # noqa: PLR2004  two can but agree or not
        return None
    before = np.array([[each.before.mean, each.before.noise] for each in measured])
    after = np.array([[each.after.mean, each.after.noise] for each in measured])
    dice = np.random.default_rng(seed)
    draws = [kendall(_redrawn(before, dice), _redrawn(after, dice)) for _ in range(_DRAWS)]
    low, high = np.quantile(draws, [0.025, 0.975])
    tau = kendall(before[:, 0], after[:, 0])
    return Agreement(tau, float(low), float(high), len(measured))


def _redrawn(side: Vector, dice: np.random.Generator) -> Vector:
    return np.asarray(side[:, 0] + side[:, 1] * dice.standard_normal(len(side)), dtype=np.float64)
