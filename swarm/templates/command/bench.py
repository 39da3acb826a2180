"""Measures tour.py: prints how much longer its trips are than they could be at best."""

from __future__ import annotations

import math
import os
import random

from tour import tour

MAPS, CITIES, MOVES = 4, 40, 1_500


def main() -> None:
    """Print the mean excess over maps that the trial's seed draws."""
    rng = random.Random(int(os.environ.get("SWARM_SEED", "0")))
    maps = [[(rng.random(), rng.random()) for _ in range(CITIES)] for _ in range(MAPS)]
    found = [excess(cities, rng) for cities in maps]
    print(f"excess: {sum(found) / len(found):.6f}")


def excess(cities: list[tuple[float, float]], rng: random.Random) -> float:
    """Return the length of the trip through `cities` in units of a bound, less one."""
    trip = tour(list(cities), MOVES, rng.randrange(2**31))
    if sorted(trip) != list(range(len(cities))):
        raise SystemExit("the trip does not visit each city once")
    legs = zip(trip, trip[1:] + trip[:1], strict=True)
    return sum(math.dist(cities[a], cities[b]) for a, b in legs) / bound(cities) - 1


def bound(cities: list[tuple[float, float]]) -> float:
    """Return the mean of each city's distances to its two nearest, added up: no trip is shorter."""
    near = (sorted(math.dist(here, there) for there in cities)[1:3] for here in cities)
    return sum(map(sum, near)) / 2


if __name__ == "__main__":
    main()
