"""Finds primes with a sieve, segment by segment.

`primes(limit)` returns all primes up to `limit`, in order. It is correct, and slower than it could
be. Everything may change but its result.
"""

from __future__ import annotations

# Numbers that are sieved at a time.
SEGMENT = 48
# Cross out multiples by assigning a slice, instead of one by one.
BY_SLICE = False
# End of the knobs.


def primes(limit: int) -> list[int]:
    """Return all primes up to `limit`."""
    found: list[int] = []
    low = 2
    while low <= limit:
        # the primes so far tell those below the square of the next number
        high = min(low + SEGMENT, low * low, limit + 1)
        found += sieve(low, high, found)
        low = high
    return found


def sieve(low: int, high: int, smaller: list[int]) -> list[int]:
    """Return the primes from `low` to below `high`; `smaller` are those below `low`."""
    is_prime = bytearray([1]) * (high - low)
    for prime in smaller:
        if prime * prime >= high:
            break
        first = max(prime * prime, (low + prime - 1) // prime * prime)
        if BY_SLICE:
            is_prime[first - low :: prime] = bytes(len(range(first, high, prime)))
        else:
            for multiple in range(first, high, prime):
                is_prime[multiple - low] = 0
    return [number for number in range(low, high) if is_prime[number - low]]
