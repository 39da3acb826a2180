"""Design of a stack check: which combinations of parts (arms) are measured.

The whole, the base, and a Plackett-Burman design between them, so that each trial tells something
of every part (Plackett & Burman, "The design of optimum multifactorial experiments", Biometrika
1946).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Parts = frozenset[int]
"""A combination of parts, by the numbers of the experiments that made them."""

MAX_PARTS = 20
"""Parts that one check takes, the best first."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A combination of parts measured within a block.

    parts: the combination
    block: number of the block; all arms of a block run on one seed and one slice
    """

    parts: Parts
    block: int = 0


Scores = Mapping[Arm, float]
"""Measured arms; higher is better, and only differences within a block count."""

Fault = tuple[int, ...]
"""A pair of parts that interacts (two numbers) or a claim that does not hold (one)."""


def budget(count: int) -> int:
    """Return the largest number of trials that a check of `count` parts may take."""
    return math.floor(4 * math.log2(count) + count) if count else 0


def design(numbers: Sequence[int]) -> list[Parts]:
    """Return the arms that every check measures: the whole, the base, and halves of the whole."""
    return list(dict.fromkeys([frozenset(numbers), frozenset(), *halves(numbers)]))


def halves(numbers: Sequence[int]) -> list[Parts]:
    """Return the combinations of a Plackett-Burman design: each has about half of the parts."""
    rows = hadamard(len(numbers) + 1)[1:, 1 : len(numbers) + 1]
    return [frozenset(n for n, on in zip(numbers, row, strict=True) if on > 0) for row in rows]


@lru_cache(maxsize=32)
def hadamard(least: int) -> Array:
    """Return the smallest Hadamard matrix at hand of `least` rows or more.

    Its first row and column are all 1. Paley's construction gives q + 1 rows for a prime
    q = 3 (mod 4); doubling such a matrix gives the other orders.
    """
    order = max(4, -(-least // 4) * 4)
    while True:
        if _is_prime(order - 1):
            return _normalised(_paley(order - 1))
        if order % 8 == 0 and _is_prime(order // 2 - 1):
            return _normalised(np.kron(np.array([[1.0, 1.0], [1.0, -1.0]]), _paley(order // 2 - 1)))
        order += 4


def _normalised(matrix: Array) -> Array:
    rows = matrix * matrix[0]
    return np.asarray(rows * rows[:, :1])


def _is_prime(number: int) -> bool:
    return all(number % divisor for divisor in range(2, math.isqrt(number) + 1))


def _paley(prime: int) -> Array:
    squares = {number * number % prime for number in range(1, prime)}
    sign = np.array([0.0] + [1.0 if n in squares else -1.0 for n in range(1, prime)])
    skew = np.zeros((prime + 1, prime + 1))
    skew[0, 1:], skew[1:, 0] = 1.0, -1.0
    skew[1:, 1:] = sign[(np.arange(prime)[None, :] - np.arange(prime)[:, None]) % prime]
    return np.asarray(skew + np.eye(prime + 1))
