"""The prior of true gains, and the posterior of one candidate under it.

`GainPrior.weigh` gives a candidate's lfsr and its shrunk gain. Of the screening trial it uses only
that it was passed; the evidence is the fresh pairs alone. How a run learns the prior is in
islands/ratchet/learnt_prior.py.

All gains are in standard deviations of one paired difference. Its size is averaged over, by the
degrees of freedom that the run knows it by: three baseline seeds may look too alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

STEP = 0.1

MAX_GAIN = 12.0
"""Gains beyond this many standard deviations of a pair are certain, and not shrunk."""

GRID: Vector = np.round(np.arange(-MAX_GAIN, MAX_GAIN + STEP / 2, STEP), 6)
"""True gains that are told apart."""

OWN_SCALES: Vector = 1.25 ** np.arange(-4.0, 13.0)
"""How much noisier the pairs of one candidate may be than the run's."""

UNSTEADY_SHARE = 0.5
"""Chance that pairs are noisier than the run's where the level of their slice moves."""

UNSTEADY_FREEDOM = 1
"""Degrees of freedom by which it is then known how noisy."""

CERTAIN_GAIN = 8.0
"""Gain of a pair, in its standard deviations, that is either true or far off."""

SURE_FREEDOM = 10
"""Degrees of freedom from which the spread of a pair is known about as well as if it were given.

`learn` assumes at least so many: heavier tails would explain any gain as noise, nothing would look
promising, and few pairs would be measured to know better. A false promise costs a few trials at
worst, and is kept or not by the degrees of freedom that there are.
"""

# by true gain, from simulated runs: the share of confirmed candidates that were kept, and the
# trials, of candidate and head, that confirming took
_CONFIRMED_GAINS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, MAX_GAIN)
_KEPT_SHARE = (0.0, 0.04, 0.07, 0.16, 0.33, 0.58, 0.80, 0.94, 0.99, 1.0)
_TRIALS_SPENT = (2.7, 3.3, 3.6, 4.4, 5.5, 6.3, 6.3, 5.8, 4.3, 4.0)

MIN_CERTAIN_SHARE = 0.002
"""Share of proposals that may gain CERTAIN_GAIN, however few have."""

KEEP_RATE: Vector = np.interp(GRID, _CONFIRMED_GAINS, _KEPT_SHARE)
"""Share of candidates of each true gain that are kept once they are confirmed."""

CONFIRM_VALUE: Vector = np.maximum(GRID, 0.0) * KEEP_RATE
"""Gain that confirming a candidate of each true gain brings on average."""

CONFIRM_TRIALS: Vector = np.interp(GRID, (-2.0, *_CONFIRMED_GAINS), (2.0, *_TRIALS_SPENT))
"""Trials that confirming takes, candidate and head."""

LEAST_LIKELY = 1e-4
"""Likelihood of a screen that the prior does not explain, of one step of GRID."""

LEAST_NOISE_OF_PASSED = 0.8
"""Noise, at least, of a screen that passed the bar, where that is evidence.

Without it 4.1 % of claims were unreal, for 3.2, where gains are many and tiny (150 nights), and
5.1 % once, for 1.2, at sigma 4 of `published` (60 nights); up to a tenth more was gained there.
"""

MAX_HEAD_ERROR = 4.0
"""The most that a head's score is taken to be off: 5.7 of its standard deviations."""

_HEAD_ERRORS: Vector = GRID[np.abs(GRID) <= MAX_HEAD_ERROR]

_BESIDE_TRUTH: NDArray[np.float64] = (
    STEP * np.exp(-((GRID[:, None] - GRID) ** 2)) / math.sqrt(math.pi)
)
"""Probability of each gain of GRID (row), by the true one, where the head's score has no error."""

_PASS: Vector = np.array([*map(NormalDist().cdf, np.arange(-3 * MAX_GAIN, 3 * MAX_GAIN, STEP))])
"""Probability that noise lifts a gain over the bar, by the gain's distance to the bar."""

_LOG_PASS: Vector = np.log(np.maximum(_PASS, np.finfo(np.float64).tiny))


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
    - `rate`: gain per trial that confirming must beat: with all trials well spent, or what the run
      has earned where that is less
    - `bar`: screened gain from which confirming brings more than its trials would elsewhere (the
      marginal value theorem of foraging: Charnov, Theoretical Population Biology 1976) and wastes
      at most MAX_WASTED_TRIALS; minus infinity where no screen selects, so that the screening trial
      is evidence like any other
    - `unit`: how much noisier a pair is taken to be than its estimate; the unit of all else here
    - `screen_noise`: standard deviation of a screen
    """

    prior: Vector
    rate: float
    bar: float
    unit: float = 1.0
    screen_noise: float = 1.0

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
            noise = max(self.screen_noise, LEAST_NOISE_OF_PASSED)
            likely *= np.exp(_log_passed((GRID - self.bar) / noise))
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
        """Return the probability that a pair of a proposal gains as little as `gain` or less."""
        distance = np.clip(gain - GRID, -3 * MAX_GAIN, 3 * MAX_GAIN - 2 * STEP)
        below = _PASS[np.rint((distance + 3 * MAX_GAIN) / STEP).astype(int)]
        return float(self.prior @ below)

    def head_error(self, screened: Sequence[float]) -> float:
        """Return by how much a head's score on a seed is off, from the gains `screened` beside it.

        Half of the variance of a pair is the head's, and what was screened on one seed shares its
        error: where most look better than proposals are, the head was unlucky there.

        In a run of `gpt` seven screens were off by 0.018 (root mean square) from the mean of four
        pairs each, and by 0.011 less that error. Over 27 cells of 60 nights 1.02 is gained by it,
        1.15 where nine of ten proposals do nothing.
        """
        if not screened:
            return 0.0
        likely = np.log(np.maximum(_BESIDE_TRUTH @ self.prior, LEAST_LIKELY))
        true = np.array(screened, dtype=np.float64)[:, None] - _HEAD_ERRORS
        told = np.interp(np.clip(true, -MAX_GAIN, MAX_GAIN), GRID, likely).sum(axis=0)
        return float(normalised(told - _HEAD_ERRORS**2) @ _HEAD_ERRORS)

    @property
    def screens(self) -> bool:
        """Return whether a screen selects here."""
        return self.bar > -math.inf


def _scale_chances(freedom: int) -> Vector:
    """Return the chances of OWN_SCALES where the noise is known by `freedom`."""
    logs = np.log(OWN_SCALES)
    return normalised(-freedom * (logs + 0.5 * np.exp(-2 * logs)))


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


def prior_of_migrant(run_prior: GainPrior, gain: tuple[float, float], share: float) -> GainPrior:
    """Return the prior of a change whose `gain` (mean, error) was measured on another head.

    A `share` of such changes is worth on this head what it was worth there; the rest follows the
    run's own prior. The change was selected there, so no screen selects here.
    """
    mean, error = gain
    transferred = np.exp(-0.5 * ((GRID - min(mean, MAX_GAIN)) / max(error, STEP)) ** 2)
    prior = share * transferred / transferred.sum() + (1 - share) * run_prior.prior
    return replace(run_prior, prior=prior, bar=-math.inf)


def normalised(log_weights: Vector) -> Vector:
    """Return the probabilities whose logs, but for a constant, are `log_weights`."""
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    return np.asarray(weights, dtype=np.float64)
