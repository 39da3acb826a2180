"""What is released of dev scores: steps as coarse as the noise, never the last digits.

Who is shown every digit of a held-out score can learn the held-out part by asking often enough.
The Ladder mechanism (Blum & Hardt, "The Ladder: A Reliable Leaderboard for Machine Learning
Competitions", ICML 2015) releases a new score only where it differs by a step that the noise of
the measurement fills. Agents are shown scores and gains in such steps; what is decided, recorded
and shown to people has all digits.

Not covered: what a verdict itself tells. It is a bit or two of each experiment.
"""

from __future__ import annotations

import math
from dataclasses import replace

from islands.ratchet.noise import Noise
from islands.records import Gain


def step(noise: Noise) -> float:
    """Return the step: a power of two, between a quarter and a half of the spread of a pair.

    It is 0 where no score varies: there the scores themselves are the truth, and no estimate of it.
    """
    return 2.0 ** math.floor(math.log2(noise.pair / 2)) if noise.pair else 0.0


def released_score(score: float, by: float) -> float:
    """Return `score` to the next multiple of the step `by`."""
    return round(score / by) * by if by else score


def released(gain: Gain, by: float) -> Gain:
    """Return `gain` in the middle of its step, so that only no gain at all is shown as 0."""
    if not by or gain.mean == 0:
        return gain
    return replace(gain, mean=(math.floor(gain.mean / by) + 0.5) * by, noise=max(gain.noise, by))
