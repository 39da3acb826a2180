"""The smallest gain that a run of so many trials can establish, by the policy that it is judged by.

A gain counts as within reach of a run if the run keeps at least one change that gains so much, with
probability CONFIDENCE, where one proposal in ten does (HELPFUL), 45 % do nothing and 45 % harm by
one and a half standard deviations of a pair. With

- `p(g)`: chance that a proposal of true gain g is kept: it passes the screen on one trial, then
  gains on fresh pairs until the rule has decided
- `c(g)`: trials that a proposal of such a run takes, on average
- `n`: trials of the run, less those of its baseline

the smallest gain is the least g with `1 - (1 - p(g)) ** (HELPFUL * n / c(g)) >= CONFIDENCE`. Both p
and c come from the rule itself, applied to REPEATS simulated proposals, with the prior that the run
would have learned from its screens by half-time.

In simulated runs of 100 trials 0.85 of 60 kept a change of the gain so computed, 0.22 one of 0.6
times it; of 8 runs of 1,000 trials, 7 and 4.

Not covered: islands that share what they keep, failed trials, null proposals and sentinels.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from islands.ratchet.acceptance import CandidateEvidence, KeepTally
from islands.ratchet.learnt_prior import Earned
from islands.ratchet.noise import Noise
from islands.ratchet.policy import RatchetPolicy
from islands.ratchet.screening import ScreenedGains

CONFIDENCE = 0.8
HELPFUL = 0.1
HARMFUL = 0.45

HARM_MEAN, HARM_SD = -1.5, 1.0
"""Gain of a harmful proposal, in standard deviations of a pair."""

REPEATS = 150
"""Simulated proposals of each kind: p is known to 0.04."""

MAX_SCREENS = 200

LEAST, MOST = 0.05, 8.0
"""Gains that are looked at, in standard deviations of a pair."""

STEPS = 8


@dataclass(frozen=True, slots=True)
class _Prospect:
    """What becomes of a proposal: its chance of being kept, the trials that it takes."""

    kept: float
    trials: float


@lru_cache(maxsize=16)
def smallest_gain(policy: RatchetPolicy, noise: Noise, trials: int) -> float:
    """Return the smallest gain, in the metric's unit, that `trials` trials can establish.

    `noise` is what the base's trials say. Return 0 where the score does not vary, and infinity
    where so few trials can establish nothing.
    """
    if noise.pair == 0:
        return 0.0
    if not _within_reach(policy, noise, trials, MOST):
        return float("inf")
    low, high = LEAST, MOST
    for _ in range(STEPS):
        middle = (low * high) ** 0.5
        low, high = (
            (low, middle) if _within_reach(policy, noise, trials, middle) else (middle, high)
        )
    return high * noise.pair


def _within_reach(policy: RatchetPolicy, noise: Noise, trials: int, gain: float) -> bool:
    """Return whether a run of `trials` trials keeps a change of `gain` pair deviations."""
    rng = random.Random(
        0
    )  # the same draws for every gain, so that a larger one is never out of reach
    screens = _screens(rng, min(MAX_SCREENS, trials // 5), gain, noise)
    proposals = _Proposals(policy, _by_half_time(noise, trials), screens)
    helpful = proposals.prospect([gain] * REPEATS, rng)
    others = [rng.gauss(HARM_MEAN, HARM_SD) if n % 2 else 0.0 for n in range(REPEATS)]
    wasted = proposals.prospect(others, rng)
    cost = HELPFUL * helpful.trials + (1 - HELPFUL) * wasted.trials
    chances = HELPFUL * max(0, trials - noise.seeds) / cost
    return bool(1 - (1 - helpful.kept) ** chances >= CONFIDENCE)


def _screens(rng: random.Random, count: int, gain: float, noise: Noise) -> list[float]:
    """Return screened gains of `count` proposals of a run."""
    truths = []
    for _ in range(count):
        kind = rng.random()
        harm = rng.gauss(HARM_MEAN, HARM_SD)
        truths.append(gain if kind < HELPFUL else harm if kind < HELPFUL + HARMFUL else 0.0)
    return [(truth + rng.gauss(0, 1)) * noise.pair for truth in truths]


def _by_half_time(noise: Noise, trials: int) -> Noise:
    """Return the noise once a tenth of half the trials have gone into pairs that say how large."""
    freedom = max(0, trials // 20)
    return replace(
        noise, residual=noise.residual + freedom * noise.pair**2, freedom=noise.freedom + freedom
    )


class _Proposals:
    """Simulated proposals of a run with one noise and one prior."""

    def __init__(self, policy: RatchetPolicy, noise: Noise, screens: Sequence[float]) -> None:
        self._rule, self._noise = policy.acceptance, noise
        gains = ScreenedGains()
        for number, gain in enumerate(screens):
            gains.add(number, gain)
        self._prior = gains.prior(noise, Earned())

    def prospect(self, gains: Sequence[float], rng: random.Random) -> _Prospect:
        """Return what becomes of proposals of these true gains, in pair deviations."""
        ends = [self._judge(gain, rng) for gain in gains]
        kept = sum(end[0] for end in ends)
        return _Prospect(kept / len(ends), sum(end[1] for end in ends) / len(ends))

    def _judge(self, gain: float, rng: random.Random) -> tuple[bool, int]:
        """Return whether a proposal is kept, and the trials that it took."""
        unit = self._noise.pair
        screened, pairs = (gain + rng.gauss(0, 1)) * unit, list[float]()
        while True:
            evidence = CandidateEvidence(screened, pairs, self._noise, self._prior, KeepTally())
            decision = self._rule.decide(evidence)
            if decision.verdict != "confirm":
                return decision.verdict == "keep", 1 + 2 * len(pairs)
            pairs.append((gain + rng.gauss(0, 1)) * unit)
