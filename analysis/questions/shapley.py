"""Shapley values: the share of each player in what a coalition is worth.

The share is the player's mean contribution over all orders in which the coalition can form
(Shapley, "A value for n-person games", 1953). All shares add up to the worth of the whole.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations

Worth = Callable[[frozenset[int]], float]
"""What a coalition is worth; that of nobody must be 0."""

MAX_EXACT = 9
"""Players up to which every coalition is valued (512 of them); above, ORDERS random orders are."""

ORDERS = 300
"""Random orders; half of them are the others reversed, which cancels most of the error."""


def shares(players: Sequence[int], worth: Worth) -> dict[int, float]:
    """Return the share of each player, exactly for up to MAX_EXACT of them."""
    values: dict[frozenset[int], float] = {}

    def value(coalition: frozenset[int]) -> float:
        if coalition not in values:
            values[coalition] = worth(coalition)
        return values[coalition]

    if len(players) <= MAX_EXACT:
        return {player: _exact(player, players, value) for player in players}
    return _sampled(players, value)


def _exact(player: int, players: Sequence[int], value: Worth) -> float:
    others = [other for other in players if other != player]
    total = 0.0
    for size in range(len(players)):
        weight = 1 / (len(players) * math.comb(len(others), size))
        for chosen in combinations(others, size):
            without = frozenset(chosen)
            total += weight * (value(without | {player}) - value(without))
    return total


def _sampled(players: Sequence[int], value: Worth) -> dict[int, float]:
    totals = dict.fromkeys(players, 0.0)
    orders = list(_orders(players))
    for order in orders:
        coalition: frozenset[int] = frozenset()
        for player in order:
            totals[player] += value(coalition | {player}) - value(coalition)
            coalition |= {player}
    return {player: total / len(orders) for player, total in totals.items()}


def _orders(players: Sequence[int]) -> Iterable[Sequence[int]]:
    rng = random.Random(0)
    for _ in range(ORDERS // 2):
        order = rng.sample(list(players), len(players))
        yield order
        yield order[::-1]
