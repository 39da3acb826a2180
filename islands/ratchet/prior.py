"""What a run has learnt of how much its proposals are worth, and what that says of one of them.

Every proposal is screened, good or bad, so the screened gains are an unselected sample of
true gain plus noise. `learn` unmixes them: the true gains' distribution is taken as a mass at zero
with a half-normal on either side (after Stephens, "False discovery rates: a new deal",
Biostatistics 2017), of shares and widths that are not fitted but averaged over, each set of them
weighted by how likely it makes the gains (hierarchical Bayes: Gelman et al., "Bayesian Data
Analysis", ch. 5), and together with them how noisy a pair is. `Belief.weigh` then says of a
candidate how likely its true gain is zero or less (its `doubt`, there called the local false sign
rate) and what its gain is worth, shrunk. Of the screening run it uses only that it was passed: the
weight of evidence is the fresh pairs' alone.

All is in units of one paired difference's standard deviation, and the noise is Student's t with as
many degrees of freedom as the run knows its spread by: three baseline seeds may look too alike.

Not covered: gains that depend on when they were proposed (an agent that runs dry, one that learns).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

STEP = 0.1

EDGE = 12.0
"""Gains beyond this many standard deviations of a pair are beyond doubt, and not shrunk."""

GRID: Vector = np.round(np.arange(-EDGE, EDGE + STEP / 2, STEP), 6)

WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)

NOTHING = (0.1, 0.3, 0.6)
"""Shares of the proposals that may do nothing.

With 0.9 among them fewer nulls are kept (0.4 of 1,000 against 1), and 3 % less is gained where most
proposals harm; without 0.6 some 5 % more, and more nulls than one of 1,000.
"""

HELP = (0.1, 0.25, 0.4)
"""Shares of all others that may help."""

SCALES = tuple(1.25**step for step in range(-3, 9))
"""How much noisier a pair may be than it looks: from half as noisy to six times."""

LOGS: Vector = np.log(SCALES)

COARSE = 50
"""Screens that all count in how noisy a pair is; the more there are beyond, the less they do.

No half-normal is what proposals are truly worth, and from hundreds of them its misfit would be
taken for knowledge (Miller & Dunson, "Robust Bayesian inference via coarsening", JASA 2019), while
pairs come to say it better. Where all counted, noise was taken for half of what it is in nights of
400 trials, and 45 of 666 claims were unreal.
"""

SURE = 10
"""Degrees of freedom from which the spread of a pair is known about as well as if it were given.

What is learnt takes it for known no worse: heavier tails would explain any gain as noise, nothing
would look promising, and few pairs would be measured of which to know better. What looks promising
costs a few trials at worst, and is kept by the degrees of freedom that there are.
"""

ROUNDS = 40


def _components() -> NDArray[np.float64]:
    """Return the mixture's parts over the grid, a row each: nothing, what harms, what helps."""
    parts = [np.where(GRID == 0, 1.0, 0.0)]
    for sign in (-1, 1):
        for width in WIDTHS:
            side = np.where(GRID * sign > 0, np.exp(-0.5 * (GRID / width) ** 2), 0.0)
            parts.append(side / side.sum())
    return np.array(parts)


PARTS = _components()


def _hypotheses() -> tuple[NDArray[np.float64], Vector]:
    """Return what may be the case, a row of weights of PARTS each, and the log of how likely.

    Gains are thought as wide as harms are, and less likely the more the two differ.
    """
    places = range(len(WIDTHS))
    rows, chances = [], []
    for harm, gain, nothing, help_ in product(places, places, NOTHING, HELP):
        row = np.zeros(len(PARTS))
        row[0] = nothing
        row[1 + harm] = (1 - nothing) * (1 - help_)
        row[1 + len(WIDTHS) + gain] = (1 - nothing) * help_
        rows.append(row)
        chances.append(-abs(harm - gain) - math.log(WIDTHS[harm]))
    return np.array(rows), np.array(chances)


HYPOTHESES, CHANCES = _hypotheses()

_KNOWN = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, EDGE)
_KEPT = (0.0, 0.04, 0.07, 0.16, 0.33, 0.58, 0.80, 0.94, 0.99, 1.0)
_SPENT = (2.7, 3.3, 3.6, 4.4, 5.5, 6.3, 6.3, 5.8, 4.3, 4.0)

OFTEN: Vector = np.interp(GRID, _KNOWN, _KEPT)
"""How often a true gain that was confirmed was kept in simulated nights."""

VALUE: Vector = np.maximum(GRID, 0.0) * OFTEN
"""What confirming it brings."""

COST: Vector = np.interp(GRID, (-2.0, *_KNOWN), (2.0, *_SPENT))
"""The trials that it took there, candidate and head."""

WASTE = 0.28
"""Trials, for each proposal, that may go into confirming what is then discarded.

Where next to nothing gains, all that is left to find may be worth more of them, and soon most of a
night would go into a few proposals that look well.
"""

_PASS: Vector = np.array(
    [NormalDist().cdf(value) for value in np.arange(-3 * EDGE, 3 * EDGE, STEP)]
)


_STEP = 8
"""Degrees of freedom that are told apart: each below this, then this many at a time."""


@lru_cache(maxsize=32)
def _likelihood(freedom: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how likely one pair shows each value of the grid (row).

    By the truth, and, as a log but for a constant, by hypothesis.
    """
    by_truth = _student(GRID[:, None] - GRID[None, :], freedom)
    return by_truth, np.log(by_truth @ PARTS.T @ HYPOTHESES.T)


def _rounded(freedom: int) -> int:
    """Return `freedom` in steps that matter: Student's t hardly changes beyond thirty."""
    return freedom if freedom <= _STEP else _STEP * min(freedom // _STEP, _STEP)


def _student(distance: NDArray[np.float64], freedom: int) -> NDArray[np.float64]:
    return np.asarray((1 + distance**2 / freedom) ** (-(freedom + 1) / 2), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Posterior:
    """What is thought of one candidate: `doubt` that it gains, `gain` and its error, shrunk.

    `worth` is what knowing more is expected to bring beyond what its trials bring elsewhere.
    """

    lfsr: float
    gain: float
    error: float
    worth: float


@dataclass(frozen=True, slots=True)
class GainPrior:
    """The distribution of true gains over `GRID`, and what to make of it.

    `rate` is the gain that a trial brings on average when all are well spent, `bar` the screened
    gain from which confirming brings more than its trials would elsewhere (the marginal value
    theorem: leave a patch when it yields less than the field's average) and wastes few of them;
    without end below zero where no screen selects, so that the screening trial is evidence like any
    other. `unit` is how much noisier a pair is taken to be than its estimate says: what all else
    here is told in.
    """

    prior: Vector
    rate: float
    bar: float
    unit: float = 1.0

    def weigh(self, mean: float, pairs: int, freedom: int) -> Posterior:
        """Return the opinion on a candidate that passed the bar and gained `mean` on `pairs`."""
        error = 1 / math.sqrt(pairs)
        if mean >= EDGE - 4 * error:
            return Posterior(0.0, mean, error, mean)
        likely = self.prior * self._passed() * _student((mean - GRID) / error, freedom)
        likely /= likely.sum()
        gain = float(likely @ GRID)
        spread = math.sqrt(max(float(likely @ GRID**2) - gain**2, 0.0))
        worth = float(likely @ (VALUE - self.rate * COST))
        return Posterior(float(likely[GRID <= 0].sum()), gain, spread, worth)

    @property
    def screens(self) -> bool:
        """Return whether a screen selects here."""
        return self.bar > -math.inf

    def _passed(self) -> Vector:
        """Return how likely each true gain passes the bar."""
        if not self.screens:
            return np.ones_like(GRID)
        passed: Vector = _PASS[np.rint((GRID - self.bar + 3 * EDGE) / STEP).astype(int)]
        return passed


def learn(screened: Sequence[float], freedom: int) -> GainPrior:
    """Return what is believed after the gains `screened`, in standard deviations of a pair.

    That deviation is an estimate of `freedom` degrees of freedom. Where it is too low by chance
    all gains look large, those for the worse and those for the better; since few proposals are
    expected to help, gains as wide on either side say how much too low. (With the estimate taken
    for the truth 4 of 19 claims were unreal where sigma is four median gains and most proposals
    harm.) That two trials of one proposal tell different gains would say so too: nothing came of it
    in the same nights.
    """
    gains = np.array(screened, dtype=np.float64)
    degrees = _rounded(max(freedom, SURE))
    varied = gains[gains != 0]  # what leaves a program the same gains 0 to the last digit
    told = np.array([_told(varied / scale, degrees) for scale in SCALES])
    told -= (len(varied) * LOGS)[:, None]
    told *= min(1.0, COARSE / max(1, len(varied))) ** 1.5
    told += CHANCES + _scales(freedom)[:, None]
    unit = math.exp(float(_shares(told).sum(axis=1) @ LOGS))
    prior = _shares(CHANCES + _told(gains / unit, degrees)) @ HYPOTHESES @ PARTS
    return GainPrior(prior, *_economy(prior, _likelihood(degrees)[0]), unit)


def _told(gains: Vector, freedom: int) -> Vector:
    """Return how likely each hypothesis makes `gains`, as a log but for a constant."""
    places = np.clip(np.rint((gains + EDGE) / STEP), 0, len(GRID) - 1).astype(int)
    counts = np.bincount(places, minlength=len(GRID))
    told: Vector = counts @ _likelihood(freedom)[1]
    return told


def _scales(freedom: int) -> Vector:
    """Return how likely each of SCALES is before any gain, as a log but for a constant.

    The square of an estimate is that of the truth times a chi-square over its degrees of freedom.
    """
    chances: Vector = -freedom * (LOGS + 0.5 * np.exp(-2 * LOGS))
    return chances


def _shares(told: Vector) -> Vector:
    """Return the probabilities whose logs, but for a constant, are `told`."""
    shares = np.exp(told - told.max())
    shares /= shares.sum()
    return np.asarray(shares, dtype=np.float64)


def _economy(prior: Vector, likely: NDArray[np.float64]) -> tuple[float, float]:
    """Return the best rate of gain per trial, and the screened gain that is worth confirming."""
    posterior = likely * prior
    seen = posterior.sum(axis=1)
    often = seen / seen.sum()
    value, cost, lost = ((posterior @ x) / seen for x in (VALUE, COST, COST * (1 - OFTEN)))
    low, high = 0.0, EDGE
    for _ in range(ROUNDS):  # the surplus falls as the rate that it must beat rises
        rate = (low + high) / 2
        if float(often @ np.maximum(value - rate * cost, 0.0)) > rate:
            low = rate
        else:
            high = rate
    spare = np.cumsum((often * lost)[::-1])[::-1] <= WASTE
    good = (value > high * cost) & spare & (GRID > 0)
    return high, float(GRID[good][0]) if good.any() else EDGE


def brought(known: GainPrior, gain: tuple[float, float], share: float) -> GainPrior:
    """Return what is believed of a change whose `gain` (mean, error) was measured on another head.

    Of such changes `share` are worth on this head what they were worth there; of the rest no more
    is believed than what is `known` of any proposal. It was selected there, so no screen does here.
    """
    mean, error = gain
    there = np.exp(-0.5 * ((GRID - min(mean, EDGE)) / max(error, STEP)) ** 2)
    prior = share * there / there.sum() + (1 - share) * known.prior
    return GainPrior(prior, known.rate, -math.inf, known.unit)
