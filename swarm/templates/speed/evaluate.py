"""Times primes.py beside the base, and refuses a wrong result.

`candidate` and `reference` run in sandboxes of their own, on the same core, one after the other, so
that a busy moment slows both.
"""

from __future__ import annotations

import random
from typing import Any

ROUNDS, LEAST, MOST = 4, 15_000, 25_000


def evaluate(candidate: Any, reference: Any, seed: int) -> float:
    """Return how many times as fast as the base the candidate is."""
    rng = random.Random(seed)
    for limit in (0, 1, 2, 3, 4, 25, rng.randrange(1_000)):
        if candidate.primes(limit) != trial_division(limit):
            raise ValueError(f"not the primes up to {limit}")
    ours = theirs = 0.0
    for limit in rng.sample(range(LEAST, MOST), ROUNDS):
        base, took = reference.timed("primes", limit)
        theirs += took
        found, took = candidate.timed("primes", limit)
        ours += took
        if found != base:
            raise ValueError(f"not the primes up to {limit}")
    return theirs / ours


def trial_division(limit: int) -> list[int]:
    """Return all primes up to `limit`, slowly and surely."""
    return [n for n in range(2, limit + 1) if all(n % d for d in range(2, int(n**0.5) + 1))]
