"""The spread of the anchor on one slice, by the sentinels of all, and what differs beyond it."""

from __future__ import annotations

import math
from collections.abc import Collection
from statistics import fmean

from islands.drift.level_change import sum_of_squares
from islands.drift.watched_slice import WatchedSlice

MATERIAL_SDS = 0.5
"""Difference of levels that matters, in standard deviations of a pair."""

UNKNOWN_SDS = 0.75
"""The same while the anchor's own spread is unknown: it may be most of a pair's.

In a run of `gpt` at rest it was two thirds, and four of eight sentinels answered one that was off
by chance. Where it is that large, 24 nights of 104 trials spend 4.2 % on sentinels, for 5.0 % at
half of a pair; a slice that slows by nine in a hundred is found as often where it is small (19 of
24), 2 times for 5 where it is as large as that. At 1.0 it is found 14 times.
"""

UNLIKE_SDS = 1.0
"""Difference of slices' anchors, in deviations of a pair, from which they may be unlike."""

EXACT_REPEATS = 3
"""Repeated anchors, all equal, from which a score is taken to repeat exactly."""

MIN_SPREAD_FREEDOM = 4
"""Degrees of freedom from which the anchor's own spread is used."""

Slices = Collection[WatchedSlice]


def spread(slices: Slices) -> tuple[float, int]:
    """Return the anchor's standard deviation on one slice, and its degrees of freedom."""
    groups = [watched.level for watched in slices if watched.level]
    freedom = _repeats(groups)
    return (math.sqrt(sum_of_squares(groups) / freedom) if freedom else 0.0, freedom)


def repeats_exactly(slices: Slices) -> bool:
    """Return whether one commit on one seed repeats its score exactly, for all that is known."""
    levels = [watched.level for watched in slices if watched.level]
    return _repeats(levels) >= EXACT_REPEATS and all(len({*level}) == 1 for level in levels)


def _repeats(groups: list[list[float]]) -> int:
    return sum(map(len, groups)) - len(groups)


def tolerance(slices: Slices, count: int, pair: float) -> float:
    """Return how far a good score may be from the mean of `count` scores."""
    own, freedom = spread(slices)
    if freedom < MIN_SPREAD_FREEDOM:
        return UNKNOWN_SDS * pair
    return max(MATERIAL_SDS * pair, 2 * own * math.sqrt(1 + 1 / max(count, 1)))


def certain_difference(slices: Slices, counts: tuple[int, int], pair: float) -> float:
    """Return the difference from which levels of so many sentinels certainly differ.

    Until the anchor's own spread is known, it is taken as a pair's over root two.
    """
    own, freedom = spread(slices)
    if freedom < MIN_SPREAD_FREEDOM:
        own = pair / math.sqrt(2)
    return 3 * own * math.sqrt(1 / counts[0] + 1 / counts[1])


def unlike(slices: Slices, watched: WatchedSlice, pair: float) -> bool:
    """Return whether a slice should repeat the anchor to tell unlike slices from noise."""
    levels = [one.level for one in slices]
    scores = [one.level + one.suspicious for one in slices]  # more would not tell: one was off
    if len(levels) == 1 or not all(levels) or _repeats(scores) >= MIN_SPREAD_FREEDOM:
        return False
    means = [*map(fmean, levels)]
    fewest = len(watched.level) + len(watched.suspicious) == min(map(len, scores))
    return fewest and max(means) - min(means) > UNLIKE_SDS * pair
