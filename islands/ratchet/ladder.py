"""The Ladder: dev scores are released to agents in steps as coarse as the noise.

An agent that sees every digit of a held-out score can learn the held-out split by asking often
enough. The Ladder mechanism (Blum & Hardt, "The Ladder: A Reliable Leaderboard for Machine Learning
Competitions", ICML 2015) releases a new score only where it differs by a step that the noise of the
measurement fills. Agents see scores and gains in such steps; decisions, the record and people get
all digits.

Not covered: what a verdict itself reveals, a bit or two for each experiment.
"""

from __future__ import annotations

import math
from dataclasses import replace

from islands.ratchet.noise import Noise
from islands.records import Gain


def step(noise: Noise) -> float:
    """Return the step: a power of two, between a quarter and a half of the spread of a pair.

    It is 0 where no score varies: there a score is the truth and no estimate of it.
    """
    return 2.0 ** math.floor(math.log2(noise.pair / 2)) if noise.pair else 0.0


def released_score(score: float, by: float) -> float:
    """Return `score` rounded to the nearest multiple of the step `by`."""
    return round(score / by) * by if by else score


def released(gain: Gain, by: float) -> Gain:
    """Return `gain` in the middle of its step, so that only no gain at all is shown as 0."""
    if not by or gain.mean == 0:
        return gain
    return replace(gain, mean=(math.floor(gain.mean / by) + 0.5) * by, noise=max(gain.noise, by))
