"""Finds a short round trip through cities by simulated annealing.

`tour(cities, moves, seed)` returns the numbers of all cities in the order of the trip. It may try
`moves` moves. Everything else may change.
"""

from __future__ import annotations

import math
import random

# Accepted lengthening at the beginning, as a share of a typical leg.
START = 3.0
# The same at the end.
END = 1.0
# Share of the moves that reverse a part of the trip; the others carry one city elsewhere.
REVERSE = 0.2
# Longest part that is reversed, as a share of the trip.
REACH = 1.0
# Begin at each city with the nearest one that is left, instead of in the order given.
NEAREST = False
# End of the knobs.

City = tuple[float, float]


def tour(cities: list[City], moves: int, seed: int) -> list[int]:
    """Return a round trip through `cities`."""
    rng = random.Random(seed)
    trip = nearest(cities) if NEAREST else list(range(len(cities)))
    leg = 1 / math.sqrt(len(cities))
    for move in range(moves):
        heat = leg * START * (END / START) ** (move / moves)
        first, last = sorted(rng.sample(range(1, len(trip)), 2))
        last = min(last, first + max(1, round(REACH * len(trip))))
        reverse = rng.random() < REVERSE
        changed = reversed_part(trip, first, last) if reverse else carried(trip, first, last)
        longer = length(cities, changed) - length(cities, trip)
        if longer <= 0 or rng.random() < math.exp(-longer / heat):
            trip = changed
    return trip


def length(cities: list[City], trip: list[int]) -> float:
    """Return the length of a round trip."""
    return sum(
        math.dist(cities[a], cities[b]) for a, b in zip(trip, trip[1:] + trip[:1], strict=True)
    )


def reversed_part(trip: list[int], first: int, last: int) -> list[int]:
    """Return the trip with a part of it run the other way."""
    return trip[:first] + trip[first : last + 1][::-1] + trip[last + 1 :]


def carried(trip: list[int], first: int, last: int) -> list[int]:
    """Return the trip with one city visited later."""
    return trip[:first] + trip[first + 1 : last + 1] + [trip[first]] + trip[last + 1 :]


def nearest(cities: list[City]) -> list[int]:
    """Return the trip that always goes on to the nearest city that is left."""
    trip, left = [0], set(range(1, len(cities)))
    while left:
        here = cities[trip[-1]]
        trip.append(min(left, key=lambda city: math.dist(here, cities[city])))
        left.remove(trip[-1])
    return trip
