"""What has paid: a Bayesian model of each site, and the gain it expects of a move.

A number's worth is taken to be a valley (or hill) along its scale: quadratic near an optimum
that is not known, linear far from it, of a depth that is not known and may be nil. The prior
puts the optimum near the present value. Each measured gain, however noisy and wherever the head
stood then, weighs the possible optima and depths anew. All that one asks of an adaptive search
follows from that one rule: after a gain the step goes on the same way and further, after a loss
the other way is likelier, near an optimum steps shrink, and dead knobs are left alone.

Options (flags, alternatives, terms left out, changes from elsewhere) have a worth each, jointly
normal, weighed in the same way.

Gains are in the metric's unit; `unit` is the scale on which they are expected, the spread of a
score between seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Forecast(NamedTuple):
    """The gain expected of a move: its mean, its variance, and what exceeds a margin on average."""

    mean: float
    variance: float
    expected_improvement: float


@dataclass(frozen=True, slots=True)
class NumberObservation:
    """One measured change of a number: from one place to another, with what it gained."""

    start: float
    end: float
    gain: float
    variance: float


@dataclass(frozen=True, slots=True)
class OptionObservation:
    """One measured change between options."""

    old: str
    new: str
    gain: float
    variance: float


@dataclass(frozen=True, slots=True)
class NumberPrior:
    """What is believed of a number before it is tried.

    `reach` is the usual distance of the optimum from the present value, on the number's scale;
    `weight` multiplies the depths; `dead` is the chance that the number does not matter.
    """

    reach: float
    weight: float
    dead: float


_OFFSETS = np.linspace(-6.0, 6.0, 61)
_DEPTHS = 2.0 ** np.arange(-1, 7)  # in units, for a distance of one beyond the quadratic part
_DEPTH_PRIOR = np.exp(-0.5 * ((np.log2(_DEPTHS) - 2.5) / 1.5) ** 2)


def _valley(distance: Array) -> Array:
    return np.sqrt(1.0 + distance**2) - 1.0


@lru_cache(maxsize=64)
def _prior_weights(prior: NumberPrior) -> Array:
    """Return the weights of [optimum, depth]; the first depth is nil."""
    near = np.exp(-0.5 * (_OFFSETS / prior.reach) ** 2) / prior.reach
    far = np.exp(-0.5 * (_OFFSETS / (3 * prior.reach)) ** 2) / (3 * prior.reach)
    optimum = 0.75 * near + 0.25 * far
    depth = np.concatenate(([prior.dead], (1 - prior.dead) * _DEPTH_PRIOR / _DEPTH_PRIOR.sum()))
    weights: Array = np.outer(optimum / optimum.sum(), depth)
    return weights


@dataclass(frozen=True, slots=True)
class NumberModel:
    """What is known of a number: the belief before it was tried, where it stands, what was seen."""

    prior: NumberPrior
    place: float
    observations: tuple[NumberObservation, ...]


@lru_cache(maxsize=4096)  # most sites have not changed since the last proposal
def number_forecasts(
    model: NumberModel, steps: tuple[float, ...], unit: float, margin: float
) -> tuple[Forecast, ...]:
    """Return the forecast of each step from the present value."""
    posterior = _posterior_weights(model, unit)
    rise = _valley(-_OFFSETS)[None, :] - _valley(np.array(steps)[:, None] - _OFFSETS[None, :])
    gains = rise[:, :, None] * _depths(model.prior, unit)[None, None, :]
    mean = (gains * posterior).sum(axis=(1, 2))
    # not the mean square less the squared mean: where all is certain that falls below zero
    variance = ((gains - mean[:, None, None]) ** 2 * posterior).sum(axis=(1, 2))
    promise = (np.maximum(gains - margin, 0.0) * posterior).sum(axis=(1, 2))
    rows = np.stack([mean, variance, promise], axis=1).tolist()
    return tuple(Forecast(*row) for row in rows)


def _posterior_weights(model: NumberModel, unit: float) -> Array:
    """Return the weights of [optimum, depth] after what was seen, the optimum as from here."""
    log = np.log(_prior_weights(model.prior) + 1e-300)
    depths = _depths(model.prior, unit)
    for one in model.observations:
        before, after = (place - model.place - _OFFSETS for place in (one.start, one.end))
        forecast = np.outer(_valley(before) - _valley(after), depths)
        log -= 0.5 * (one.gain - forecast) ** 2 / one.variance
    weights: Array = np.exp(log - log.max())
    weights /= weights.sum()
    return weights


def _depths(prior: NumberPrior, unit: float) -> Array:
    return np.concatenate(([0.0], _DEPTHS)) * prior.weight * unit


def option_forecasts(
    present: str,
    options: Sequence[str],
    observations: Sequence[OptionObservation],
    prior: tuple[float, float],
    margin: float,
) -> list[Forecast]:
    """Return the forecast of each option against the `present` one.

    `prior` is the mean and standard deviation of what an option gains over the present one.
    """
    names = list(
        dict.fromkeys([present, *options, *(n for c in observations for n in (c.old, c.new))])
    )
    mean = np.full(len(names), prior[0])
    mean[0] = 0.0
    covariance = np.eye(len(names)) * prior[1] ** 2
    covariance[0, 0] = 0.0
    for one in observations:
        row = np.zeros(len(names))
        row[names.index(one.new)] += 1.0
        row[names.index(one.old)] -= 1.0
        pull = covariance @ row
        spread = float(row @ pull) + one.variance
        mean = mean + pull * (one.gain - float(row @ mean)) / spread
        covariance = covariance - np.outer(pull, pull) / spread
    return [
        normal_forecast(float(mean[i]), float(covariance[i, i]), margin)
        for i in map(names.index, options)
    ]


def normal_forecast(mean: float, variance: float, margin: float) -> Forecast:
    """Return the forecast of a gain that is normally distributed."""
    sd = math.sqrt(max(variance, 1e-18))
    z = (mean - margin) / sd
    density = math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    above = 0.5 * math.erfc(-z / math.sqrt(2))
    return Forecast(mean, variance, max(0.0, (mean - margin) * above + sd * density))
