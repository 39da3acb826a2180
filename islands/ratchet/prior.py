"""The prior of true gains that a run learns from its screens, and the posterior of one candidate.

Every proposal is screened, good or bad, so the screened gains are an unselected sample of true gain
plus noise. `learn` deconvolves them, and takes in what fresh pairs said of some. The distribution
of true gains is a mass at zero with a half-normal on either side (after Stephens, "False discovery
rates: a new deal", Biostatistics 2017); its shares and widths are not fitted but averaged over,
each set weighted by how likely it makes the gains (hierarchical Bayes: Gelman et al., "Bayesian
Data Analysis", ch. 5), together with how noisy a pair is. `GainPrior.weigh` gives a candidate's
lfsr and its shrunk gain. Of the screening trial it uses only that it was passed; the evidence is
the fresh pairs alone.

All gains are in standard deviations of one paired difference. Its size is averaged over as well, by
the degrees of freedom that the run knows it by: three baseline seeds may look too alike.

Not covered: gains that depend on when they were proposed (an agent that runs dry, one that learns).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

STEP = 0.1

MAX_GAIN = 12.0
"""Gains beyond this many standard deviations of a pair are certain, and not shrunk."""

GRID: Vector = np.round(np.arange(-MAX_GAIN, MAX_GAIN + STEP / 2, STEP), 6)
"""True gains that are told apart."""

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

BULK_SCREENS = 16
"""Screens from which their own spread bounds the noise: no pair varies by more than all gains do.

Where it does, a baseline score was far off, and there are too few others to say so.
"""

BULK_MARGIN = 4.0
"""How much noisier than the screens a pair must look not to be believed."""

BULK_FREEDOM = 4
"""Degrees of freedom that the screens' own spread is taken to have."""

OWN_SCALES: Vector = 1.25 ** np.arange(-4.0, 13.0)
"""How much noisier the pairs of one candidate may be than the run's."""

UNSTEADY_SHARE = 0.5
"""Chance that pairs are noisier than the run's where the level of their slice moves."""

UNSTEADY_FREEDOM = 1
"""Degrees of freedom by which it is then known how noisy."""

CERTAIN_GAIN = 8.0
"""Gain of a pair, in its standard deviations, that is either true or far off."""

LOG_SCALES: Vector = np.log(SCALES)

MAX_FULL_WEIGHT_SCREENS = 50
"""Screens that count in full in how noisy a pair is; the more there are beyond, the less they do.

No half-normal is what proposals are truly worth, and hundreds of them would turn its misfit into
false certainty (Miller & Dunson, "Robust Bayesian inference via coarsening", JASA 2019), while
pairs measure the noise better. With all counted, noise was taken for half of what it is in runs of
400 trials, and 45 of 666 claims were false.
"""

SURE_FREEDOM = 10
"""Degrees of freedom from which the spread of a pair is known about as well as if it were given.

`learn` assumes at least so many: heavier tails would explain any gain as noise, nothing would look
promising, and few pairs would be measured to know better. A false promise costs a few trials at
worst, and is kept or not by the degrees of freedom that there are.
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

# by true gain, from simulated runs: the share of confirmed candidates that were kept, and the
# trials, of candidate and head, that confirming took
_CONFIRMED_GAINS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, MAX_GAIN)
_KEPT_SHARE = (0.0, 0.04, 0.07, 0.16, 0.33, 0.58, 0.80, 0.94, 0.99, 1.0)
_TRIALS_SPENT = (2.7, 3.3, 3.6, 4.4, 5.5, 6.3, 6.3, 5.8, 4.3, 4.0)

PAIRS_FREEDOM = 4
"""Degrees of freedom of the mean of a candidate's pairs, where they teach the prior."""

MIN_CERTAIN_SHARE = 0.002
"""Share of proposals that may gain CERTAIN_GAIN, however few have."""

KEEP_RATE: Vector = np.interp(GRID, _CONFIRMED_GAINS, _KEPT_SHARE)
"""Share of candidates of each true gain that are kept once they are confirmed."""

CONFIRM_VALUE: Vector = np.maximum(GRID, 0.0) * KEEP_RATE
"""Gain that confirming a candidate of each true gain brings on average."""

CONFIRM_TRIALS: Vector = np.interp(GRID, (-2.0, *_CONFIRMED_GAINS), (2.0, *_TRIALS_SPENT))
"""Trials that confirming takes, candidate and head."""

MAX_WASTED_TRIALS = 0.28
"""Trials per proposal that may go into confirming what is then discarded.

Where hardly anything gains, the best remaining use of trials is poor, so that more of them would
seem worth spending on confirmation, until most of a run goes into a few proposals that look well.
"""

_PASS: Vector = np.array([*map(NormalDist().cdf, np.arange(-3 * MAX_GAIN, 3 * MAX_GAIN, STEP))])
"""Probability that noise lifts a gain over the bar, by the gain's distance to the bar."""

_LOG_PASS: Vector = np.log(np.maximum(_PASS, np.finfo(np.float64).tiny))

_FREEDOM_STEP = 8
"""Degrees of freedom that are told apart: each below this, then this many at a time."""


@lru_cache(maxsize=32)
def _likelihood(freedom: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how likely one pair shows each value of GRID (row), given the truth.

    First by true gain, a column each; then by hypothesis, as a log but for a constant.
    """
    by_truth = _student(GRID[:, None] - GRID[None, :], freedom)
    return by_truth, np.log(by_truth @ COMPONENTS.T @ HYPOTHESES.T)


def _rounded(freedom: int) -> int:
    """Return `freedom` in steps that matter: Student's t hardly changes beyond thirty."""
    if freedom <= _FREEDOM_STEP:
        return freedom
    return _FREEDOM_STEP * min(freedom // _FREEDOM_STEP, _FREEDOM_STEP)


def _student(distance: NDArray[np.float64], freedom: int) -> NDArray[np.float64]:
    """Return the density of Student's t but for a constant."""
    return np.asarray((1 + distance**2 / freedom) ** (-(freedom + 1) / 2), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Posterior:
    """What is known of one candidate's true gain.

    - `lfsr`: probability that it is zero or less
    - `gain`: its mean, shrunk towards the prior
    - `error`: its standard deviation
    - `worth`: gain that one more round of confirming is expected to bring, less what its trials
      bring elsewhere
    """

    lfsr: float
    gain: float
    error: float
    worth: float


@dataclass(frozen=True, slots=True)
class GainPrior:
    """The distribution of true gains, and what it says about spending trials.

    - `prior`: probability of each gain of GRID
    - `rate`: gain per trial when all trials are well spent
    - `bar`: screened gain from which confirming brings more than its trials would elsewhere (the
      marginal value theorem of foraging: Charnov, Theoretical Population Biology 1976) and wastes
      at most MAX_WASTED_TRIALS; minus infinity where no screen selects, so that the screening trial
      is evidence like any other
    - `unit`: how much noisier a pair is taken to be than its estimate; the unit of all else here
    """

    prior: Vector
    rate: float
    bar: float
    unit: float = 1.0

    def weigh(
        self,
        pairs: Sequence[float],
        freedom: int,
        tails: float = 0.0,
        screened: float = 0.0,
        *,
        steady: bool = True,
    ) -> Posterior:
        """Return the posterior of a candidate that passed the bar and then gained `pairs`.

        `freedom` is the degrees of freedom that the spread of a pair is known by; a share `tails`
        of all pairs are far off. What it was `screened` at counts only where all seem certain.
        """
        gains = np.array(pairs, dtype=np.float64)
        certain = gains[gains >= CERTAIN_GAIN]
        if len(certain) > len(gains) / 2:
            luck = tails ** (len(certain) + (screened >= CERTAIN_GAIN))
            return self._certain(certain, freedom, luck)
        told = _likelihood_of_pairs(gains, freedom, None if steady else self.bar)
        likely = self.prior * told
        if steady and self.screens:
            likely *= np.exp(_log_passed(GRID - self.bar))
        if not likely.sum() > 0.0:  # so far off that the prior underflows: the pairs alone count
            likely = told
        likely /= likely.sum()
        gain = float(likely @ GRID)
        spread = math.sqrt(max(float(likely @ GRID**2) - gain**2, 0.0))
        worth = float(likely @ (CONFIRM_VALUE - self.rate * CONFIRM_TRIALS))
        return Posterior(float(likely[GRID <= 0].sum()), gain, spread, worth)

    def _certain(self, certain: Vector, freedom: int, luck: float) -> Posterior:
        """Return the posterior where most pairs gain so much that all are true, or all far off.

        `luck` is the probability that all are far off.
        """
        gain, count = float(np.median(certain)), len(certain)
        true = float(self.prior[GRID >= CERTAIN_GAIN].sum()) + MIN_CERTAIN_SHARE
        known = freedom + count - 1
        squares = freedom + float(((certain - gain) ** 2).sum())
        error = math.sqrt(squares / max(known - 2, 1) / count)
        return Posterior(luck / (luck + true), gain, error, gain)

    def chance_below(self, gain: float) -> float:
        """Return the probability that a proposal is screened at `gain` or less."""
        distance = np.clip(gain - GRID, -3 * MAX_GAIN, 3 * MAX_GAIN - 2 * STEP)
        below = _PASS[np.rint((distance + 3 * MAX_GAIN) / STEP).astype(int)]
        return float(self.prior @ below)

    @property
    def screens(self) -> bool:
        """Return whether a screen selects here."""
        return self.bar > -math.inf


def _scale_chances(freedom: int) -> Vector:
    """Return the chances of OWN_SCALES where the noise is known by `freedom`."""
    logs = np.log(OWN_SCALES)
    return _normalised(-freedom * (logs + 0.5 * np.exp(-2 * logs)))


def _likelihood_of_pairs(gains: Vector, freedom: int, unsteady_bar: float | None) -> Vector:
    """Return how likely each true gain of GRID makes `gains`, but for a constant.

    The scale that all share is averaged over, so that few degrees of freedom, or pairs that differ
    much among themselves, leave the gain open. Where their slice is unsteady they may be noisier
    than the run's, and the screen, which passed `unsteady_bar`, was as noisy.
    """
    logs = np.log(OWN_SCALES)
    distance = (gains[:, None] - GRID[None, :])[:, None, :] / OWN_SCALES[None, :, None]
    each = (-0.5 * distance**2 - logs[None, :, None]).sum(axis=0)  # logs: far-off pairs underflow
    chances = _scale_chances(freedom)
    if unsteady_bar is not None:
        chances = (1 - UNSTEADY_SHARE) * chances + UNSTEADY_SHARE * _scale_chances(UNSTEADY_FREEDOM)
    each += np.log(np.maximum(chances, np.finfo(np.float64).tiny))[:, None]
    if unsteady_bar is not None and unsteady_bar > -math.inf:
        each += _log_passed((GRID - unsteady_bar)[None, :] / OWN_SCALES[:, None])
    likelihood: Vector = np.exp(each - each.max()).sum(axis=0)
    return likelihood


def _log_passed(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log of the chance that noise lifts a gain over the bar, by its `distance`."""
    places = np.rint((distance + 3 * MAX_GAIN) / STEP).astype(int)
    return np.asarray(_LOG_PASS[np.clip(places, 0, len(_LOG_PASS) - 1)], dtype=np.float64)


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
    varied = gains[gains != 0]  # a program that is unchanged scores the same to the last digit
    chances = np.array([_log_likelihood(varied / scale, degrees) for scale in SCALES])
    chances -= (len(varied) * LOG_SCALES)[:, None]
    chances *= min(1.0, MAX_FULL_WEIGHT_SCREENS / max(1, len(varied))) ** 1.5
    chances += LOG_CHANCES + _log_scale_chances(freedom)[:, None]
    unit = math.exp(float(_normalised(chances).sum(axis=1) @ LOG_SCALES))
    likely = _log_likelihood(gains / unit, degrees)
    likely += _log_likelihood_of_confirmed([one.over(unit) for one in confirmed], degrees)
    weights = _normalised(LOG_CHANCES + likely)
    prior = weights @ HYPOTHESES @ COMPONENTS
    return GainPrior(prior, *_best_rate_and_bar(prior, _likelihood(degrees)[0]), unit)


def prior_of_migrant(run_prior: GainPrior, gain: tuple[float, float], share: float) -> GainPrior:
    """Return the prior of a change whose `gain` (mean, error) was measured on another head.

    A `share` of such changes is worth on this head what it was worth there; the rest follows the
    run's own prior. The change was selected there, so no screen selects here.
    """
    mean, error = gain
    transferred = np.exp(-0.5 * ((GRID - min(mean, MAX_GAIN)) / max(error, STEP)) ** 2)
    prior = share * transferred / transferred.sum() + (1 - share) * run_prior.prior
    return GainPrior(prior, run_prior.rate, -math.inf, run_prior.unit)


def _log_likelihood_of_confirmed(confirmed: Sequence[ConfirmedGain], freedom: int) -> Vector:
    """Return how likely each hypothesis makes the pairs given the screens, as a log."""
    if not confirmed:
        return np.zeros(len(HYPOTHESES))
    rows = np.array([(one.screened, one.mean, one.pairs) for one in confirmed])
    screened, mean, pairs = np.clip(rows, -MAX_GAIN, MAX_GAIN).T[:, :, None]
    before = _student(screened - GRID, freedom)
    both = before * _student((mean - GRID) * np.sqrt(pairs), PAIRS_FREEDOM)
    by_component = np.stack([both, before]) @ COMPONENTS.T @ HYPOTHESES.T
    logs = np.log(np.maximum(by_component, np.finfo(float).tiny))
    likelihood: Vector = (logs[0] - logs[1]).sum(axis=0)
    return likelihood


def _bulk(gains: Vector) -> float:
    """Return the standard deviation of normal gains with the same quartiles, 1.0 for a few."""
    varied = gains[gains != 0]
    if len(varied) < BULK_SCREENS:
        return 1.0
    low, high = np.quantile(varied, (0.25, 0.75))
    return float(high - low) / (2 * NORMAL_QUARTILE) or 1.0


def _log_likelihood(gains: Vector, freedom: int) -> Vector:
    """Return how likely each hypothesis makes `gains`, as a log but for a constant."""
    places = np.clip(np.rint((gains + MAX_GAIN) / STEP), 0, len(GRID) - 1).astype(int)
    counts = np.bincount(places, minlength=len(GRID))
    likelihood: Vector = counts @ _likelihood(freedom)[1]
    return likelihood


def _log_scale_chances(freedom: int) -> Vector:
    """Return how likely each of SCALES is before any gain, as a log but for a constant.

    The square of an estimate is that of the truth times a chi-square over its degrees of freedom.
    """
    chances: Vector = -freedom * (LOG_SCALES + 0.5 * np.exp(-2 * LOG_SCALES))
    return chances


def _normalised(log_weights: Vector) -> Vector:
    """Return the probabilities whose logs, but for a constant, are `log_weights`."""
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    return np.asarray(weights, dtype=np.float64)


def _best_rate_and_bar(prior: Vector, likely: NDArray[np.float64]) -> tuple[float, float]:
    """Return the best gain per trial, and the screened gain from which confirming pays."""
    posterior = likely * prior
    seen = posterior.sum(axis=1)
    often = seen / seen.sum()
    wasted = CONFIRM_TRIALS * (1 - KEEP_RATE)
    value, cost, lost = ((posterior @ x) / seen for x in (CONFIRM_VALUE, CONFIRM_TRIALS, wasted))
    low, high = 0.0, MAX_GAIN
    for _ in range(BISECTIONS):  # the surplus falls as the rate that it must beat rises
        rate = (low + high) / 2
        if float(often @ np.maximum(value - rate * cost, 0.0)) > rate:
            low = rate
        else:
            high = rate
    spare = np.cumsum((often * lost)[::-1])[::-1] <= MAX_WASTED_TRIALS
    good = (value > high * cost) & spare & (GRID > 0)
    return high, float(GRID[good][0]) if good.any() else MAX_GAIN
