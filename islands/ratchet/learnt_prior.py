"""The prior of true gains that a run learns from its screens.

Every proposal is screened, good or bad, so the screened gains are an unselected sample of true gain
plus noise. `learn` deconvolves them, and takes in what fresh pairs said of some. The distribution
of true gains is a mass at zero with a half-normal on either side (after Stephens, "False discovery
rates: a new deal", Biostatistics 2017); its shares and widths are not fitted but averaged over,
each set weighted by how likely it makes the gains (hierarchical Bayes: Gelman et al., "Bayesian
Data Analysis", ch. 5), together with how noisy a pair is, and a screen.

A screen is less noisy than a pair the better its head's error is known (`GainPrior.head_error`).
With both taken for alike 0.98 is gained on average over 27 cells of 60 nights, 0.86 where most
proposals harm (`harsh` at sigma 1).

All gains are in standard deviations of one paired difference.

The rate at which trials gain, which a candidate's confirmation must beat, is what the prior says of
trials that are all well spent, until the run's own keeps say less (`with_earned`). They do where an
agent offers one gain again and again: each offer looks like another gain to be had. In a run of
`gpt` the bar rose from 0.025 to 0.038 while 13 candidates with the same two changes in them were
discarded, 11 of them at gains of 0.02 to 0.032 where a pair varied by 0.011.

Not covered: gains that depend on when they were proposed (an agent that runs dry, one that learns);
screens that are noisier than pairs, as levels wander. With larger ones among SCREEN_NOISES half of
the gains in tests/islands/test_prior.py were taken for noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from islands.ratchet.prior import (
    CONFIRM_TRIALS,
    CONFIRM_VALUE,
    GRID,
    KEEP_RATE,
    MAX_GAIN,
    STEP,
    SURE_FREEDOM,
    GainPrior,
    Vector,
    normalised,
)

WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Widths of the half-normals of gains and of harms."""

NULL_SHARES = (0.1, 0.3, 0.6, 0.9, 0.97)
"""Shares of the proposals that may do nothing: screens and pairs say which it is."""

MAX_COMMON_NULLS = 0.6
"""Share of nulls that is common."""

RARE_CHANCE = 0.1
"""How likely each larger share of nulls is before anything is seen, against each up to that.

As likely as the others, a third less was gained where gains are many and tiny. So likely, 100
nights at sigma 2 of `harsh` gain 0.88 of what they did without them, at sigma 4 of `published`
0.99, with nine of ten nil 0.97; and of `tuned`, where one claim in ten was unreal, one in thirty
is.
"""

HELP_SHARES = (0.1, 0.25, 0.4)
"""Shares of all others that may help."""

SCALES = tuple(1.25**step for step in range(-2, 9))
"""How much noisier a pair may be than it looks: from a third less to six times.

With half as noisy among them, gains of no worth were kept in runs whose noise looked too large.
"""

NOISE_STEP = 1.25
"""Ratio of noises of screens that are told apart."""

SCREEN_NOISES = tuple(NOISE_STEP**step for step in (-4, -3, -2, -1, 0))
"""How noisy a screen may be, in standard deviations of a pair."""

LOG_SCREEN_CHANCES: Vector = np.log((0.1, 0.15, 0.25, 0.25, 0.25))
"""How likely each of them is before any gain."""

BULK_SCREENS = 16
"""Screens from which their own spread bounds the noise: no pair varies by more than all gains do.

Where it does, a baseline score was far off, and there are too few others to say so.
"""

BULK_MARGIN = 4.0
"""How much noisier than the screens a pair must look not to be believed."""

BULK_FREEDOM = 4
"""Degrees of freedom that the screens' own spread is taken to have."""

LOG_SCALES: Vector = np.log(SCALES)

LOG_SCREEN_NOISES: Vector = np.log(SCREEN_NOISES)

MAX_FULL_WEIGHT_SCREENS = 50
"""Screens that count in full in how noisy a pair is; the more there are beyond, the less they do.

No half-normal is what proposals are truly worth, and hundreds of them would turn its misfit into
false certainty (Miller & Dunson, "Robust Bayesian inference via coarsening", JASA 2019), while
pairs measure the noise better. With all counted, noise was taken for half of what it is in runs of
400 trials, and 45 of 666 claims were false.
"""

BISECTIONS = 40

NORMAL_QUARTILE = 0.6744897501960817
"""Third quartile of the standard normal distribution."""


def _components() -> NDArray[np.float64]:
    """Return the mixture's components over GRID, a row each: nothing, harms, gains."""
    rows = [np.where(GRID == 0, 1.0, 0.0)]
    for sign in (-1, 1):
        for width in WIDTHS:
            side = np.where(GRID * sign > 0, np.exp(-0.5 * (GRID / width) ** 2), 0.0)
            rows.append(side / side.sum())
    return np.array(rows)


COMPONENTS = _components()


def _hypotheses() -> tuple[NDArray[np.float64], Vector]:
    """Return the hypotheses, a row of weights of COMPONENTS each, and their log prior.

    Gains are expected to be as wide as harms, and less likely the more the two differ.
    """
    places = range(len(WIDTHS))
    rows, chances = [], []
    for harm, gain, null_share, help_share in product(places, places, NULL_SHARES, HELP_SHARES):
        row = np.zeros(len(COMPONENTS))
        row[0] = null_share
        row[1 + harm] = (1 - null_share) * (1 - help_share)
        row[1 + len(WIDTHS) + gain] = (1 - null_share) * help_share
        rows.append(row)
        rare = math.log(RARE_CHANCE) if null_share > MAX_COMMON_NULLS else 0.0
        chances.append(rare - abs(harm - gain) - math.log(WIDTHS[harm]))
    return np.array(rows), np.array(chances)


HYPOTHESES, LOG_CHANCES = _hypotheses()

PAIRS_FREEDOM = 4
"""Degrees of freedom of the mean of a candidate's pairs, where they teach the prior."""

MAX_WASTED_TRIALS = 0.28
"""Trials per proposal that may go into confirming what is then discarded.

Where hardly anything gains, the best remaining use of trials is poor, so that more of them would
seem worth spending on confirmation, until most of a run goes into a few proposals that look well.
"""

EXPECTED_TRIALS = 60
"""Trials that what the prior expects them to gain counts as much as.

With 20, and with the rate at 0.4 of what the prior says, `published` gains 0.9 as much at sigma 4
and beside load; with 60 as much as before in 15 cells of 60 and 100 nights, 1.1 where gains are
hard to tell (`harsh` at sigma 2, `tuned` at 1).
"""

_FREEDOM_STEP = 8
"""Degrees of freedom that are told apart: each below this, then this many at a time."""


@lru_cache(maxsize=16)
def _likelihood(freedom: int, noise: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how likely a screen of this `noise` shows each value of GRID (row), given the truth.

    First by true gain, a column each; then by hypothesis, as a log but for a constant.
    """
    by_truth = _student((GRID[:, None] - GRID[None, :]) / noise, freedom) / noise
    return by_truth, np.log(by_truth @ COMPONENTS.T @ HYPOTHESES.T)


def _rounded(freedom: int) -> int:
    """Return `freedom` in steps that matter: Student's t hardly changes beyond thirty."""
    if freedom <= _FREEDOM_STEP:
        return freedom
    return _FREEDOM_STEP * min(freedom // _FREEDOM_STEP, _FREEDOM_STEP)


def _student(distance: NDArray[np.float64], freedom: int) -> NDArray[np.float64]:
    """Return the density of Student's t but for a constant."""
    density = distance * distance
    density /= freedom
    density += 1
    return np.power(density, -(freedom + 1) / 2, out=density)


@dataclass(frozen=True, slots=True)
class ConfirmedGain:
    """What the fresh pairs of one screened candidate showed.

    - `screened`: its screened gain
    - `mean`: mean gain of its pairs
    - `pairs`: their number
    """

    screened: float
    mean: float
    pairs: int

    def over(self, unit: float) -> ConfirmedGain:
        """Return the same in multiples of `unit`."""
        return ConfirmedGain(self.screened / unit, self.mean / unit, self.pairs)


@dataclass(frozen=True, slots=True)
class Earned:
    """What a run has gained: the sum of its keeps' gains, and the trials that were spent on it."""

    gain: float = 0.0
    trials: int = 0


def learn(
    screened: Sequence[float], freedom: int, confirmed: Sequence[ConfirmedGain] = ()
) -> GainPrior:
    """Return the prior after the gains `screened`, in estimated standard deviations of a pair.

    That deviation is an estimate of `freedom` degrees of freedom. Where it is too low by chance all
    gains look large, harms and gains alike; since few proposals are expected to help, equally wide
    sides say how much too low it is. (With the estimate taken for the truth 4 of 19 claims were
    false where sigma is four median gains and most proposals harm.) That two trials of one proposal
    show different gains would say so too, but changed nothing in the same runs.
    """
    gains = np.array(screened, dtype=np.float64)
    bulk = _bulk(gains)
    if bulk * BULK_MARGIN < 1:
        again = [one.over(bulk) for one in confirmed]
        found = learn([gain / bulk for gain in screened], min(freedom, BULK_FREEDOM), again)
        return replace(found, unit=found.unit * bulk)
    degrees = _rounded(max(freedom, SURE_FREEDOM))
    unit, noise = _noises(gains, confirmed, freedom, degrees)
    likely = _counts(gains / unit) @ _likelihood(degrees, noise)[1]
    again = [one.over(unit) for one in confirmed]
    likely += _log_likelihood_of_confirmed(again, degrees, (noise,))[0]
    weights = normalised(LOG_CHANCES + likely)
    prior = weights @ HYPOTHESES @ COMPONENTS
    confirming = _confirming(prior, degrees, noise)
    rate = confirming.best_rate()
    return GainPrior(prior, rate, confirming.bar(rate), unit, noise)


def _noises(
    gains: Vector, confirmed: Sequence[ConfirmedGain], freedom: int, degrees: int
) -> tuple[float, float]:
    """Return how much noisier a pair is than its estimate, and how noisy a screen is beside it."""
    varied = gains[gains != 0]  # a program that is unchanged scores the same to the last digit
    weight = min(1.0, MAX_FULL_WEIGHT_SCREENS / max(1, len(varied))) ** 1.5
    counts = np.array([_counts(varied / scale) for scale in SCALES], dtype=np.float64)
    of_screens = [counts @ _likelihood(degrees, noise)[1] for noise in SCREEN_NOISES]
    of_pairs = [
        _log_likelihood_of_confirmed([one.over(scale) for one in confirmed], degrees)
        for scale in SCALES
    ]
    chances = weight * np.stack(of_screens, axis=1) + np.array(of_pairs)
    told = weight * len(varied) + len(confirmed)
    chances -= told * LOG_SCALES[:, None, None]
    chances += LOG_CHANCES + LOG_SCREEN_CHANCES[None, :, None]
    chances += _log_scale_chances(freedom)[:, None, None]
    found = normalised(chances).sum(axis=2)
    unit = math.exp(float(found.sum(axis=1) @ LOG_SCALES))
    return unit, _stepped(math.exp(float(found.sum(axis=0) @ LOG_SCREEN_NOISES)))


def _stepped(noise: float) -> float:
    """Return `noise` in steps that matter."""
    return float(NOISE_STEP ** round(math.log(noise, NOISE_STEP)))


def with_earned(learnt: GainPrior, freedom: int, earned: Earned) -> GainPrior:
    """Return `learnt` with the rate, and the bar, that what a run has `earned` leaves of it.

    `freedom` is the one that it was learnt with.
    """
    expected = learnt.rate * EXPECTED_TRIALS
    rate = min(learnt.rate, (expected + earned.gain) / (EXPECTED_TRIALS + earned.trials))
    degrees = _rounded(max(freedom, SURE_FREEDOM))
    bar = _confirming(learnt.prior, degrees, learnt.screen_noise).bar(rate)
    return replace(learnt, rate=rate, bar=bar)


def _log_likelihood_of_confirmed(
    confirmed: Sequence[ConfirmedGain], freedom: int, noises: Sequence[float] = SCREEN_NOISES
) -> NDArray[np.float64]:
    """Return how likely each hypothesis makes the pairs given the screens, as a log.

    A row for each noise that a screen may have, a column for each hypothesis.
    """
    if not confirmed:
        return np.zeros((len(noises), len(HYPOTHESES)))
    rows = np.array([(one.screened, one.mean, one.pairs) for one in confirmed])
    screened, mean, pairs = np.clip(rows, -MAX_GAIN, MAX_GAIN).T[:, :, None]
    of_pairs = _student((mean - GRID) * np.sqrt(pairs), PAIRS_FREEDOM)
    likelihood = np.empty((len(noises), len(HYPOTHESES)))
    for place, noise in enumerate(noises):
        of_screens = _student((screened - GRID) / noise, freedom)
        ratio = of_screens * of_pairs @ COMPONENTS.T @ HYPOTHESES.T
        ratio /= of_screens @ COMPONENTS.T @ HYPOTHESES.T
        likelihood[place] = np.log(ratio, out=ratio).sum(axis=0)
    return likelihood


def _bulk(gains: Vector) -> float:
    """Return the standard deviation of normal gains with the same quartiles, 1.0 for a few."""
    varied = gains[gains != 0]
    if len(varied) < BULK_SCREENS:
        return 1.0
    low, high = np.quantile(varied, (0.25, 0.75))
    return float(high - low) / (2 * NORMAL_QUARTILE) or 1.0


def _counts(gains: Vector) -> NDArray[np.int64]:
    """Return how many of `gains` are nearest to each value of GRID."""
    places = np.clip(np.rint((gains + MAX_GAIN) / STEP), 0, len(GRID) - 1).astype(int)
    return np.bincount(places, minlength=len(GRID))


def _log_scale_chances(freedom: int) -> Vector:
    """Return how likely each of SCALES is before any gain, as a log but for a constant.

    The square of an estimate is that of the truth times a chi-square over its degrees of freedom.
    """
    chances: Vector = -freedom * (LOG_SCALES + 0.5 * np.exp(-2 * LOG_SCALES))
    return chances


@dataclass(frozen=True, slots=True)
class _Confirming:
    """What confirming a candidate brings, by the gain of GRID that it was screened at.

    - `often`: probability of that screen
    - `value`: gain that confirming brings
    - `cost`: trials that it takes
    - `lost`: those of them that end in a discard
    """

    often: Vector
    value: Vector
    cost: Vector
    lost: Vector

    def best_rate(self) -> float:
        """Return the gain per trial if all are well spent."""
        low, high = 0.0, MAX_GAIN
        for _ in range(BISECTIONS):  # the surplus falls as the rate that it must beat rises
            rate = (low + high) / 2
            if float(self.often @ np.maximum(self.value - rate * self.cost, 0.0)) > rate:
                low = rate
            else:
                high = rate
        return high

    def bar(self, rate: float) -> float:
        """Return the screened gain from which confirming brings more than `rate` a trial."""
        spare = np.cumsum((self.often * self.lost)[::-1])[::-1] <= MAX_WASTED_TRIALS
        good = (self.value > rate * self.cost) & spare & (GRID > 0)
        return float(GRID[good][0]) if good.any() else MAX_GAIN


def _confirming(prior: Vector, freedom: int, noise: float) -> _Confirming:
    """Return what confirming brings under `prior`, where screens have this `noise`."""
    posterior = _likelihood(freedom, noise)[0] * prior
    seen = posterior.sum(axis=1)
    wasted = CONFIRM_TRIALS * (1 - KEEP_RATE)
    value, cost, lost = ((posterior @ x) / seen for x in (CONFIRM_VALUE, CONFIRM_TRIALS, wasted))
    return _Confirming(seen / seen.sum(), value, cost, lost)
