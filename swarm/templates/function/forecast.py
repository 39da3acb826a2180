"""Forecasts a series by exponential smoothing of its level, its trend and its seasons.

`forecast(history, months)` returns the next months. Only `history` is known here: evaluate.py and
the months that follow are out of reach. Everything else may change.
"""

from __future__ import annotations

# How far the level follows the latest month.
LEVEL = 0.9
# How far the trend follows the latest change of the level.
TREND = 0.5
# How far a season follows its latest month.
SEASON = 0.1
# Share of the trend that is left after each month ahead.
DAMPING = 1.0
# Months of a year.
YEAR = 12
# End of the knobs.


def forecast(history: list[float], months: int) -> list[float]:
    """Return the next `months` values of `history`."""
    level = sum(history[:YEAR]) / YEAR
    seasons = [value - level for value in history[:YEAR]]
    trend = 0.0
    for month, value in enumerate(history[YEAR:], YEAR):
        season = seasons[month % YEAR]
        before = level
        level = LEVEL * (value - season) + (1 - LEVEL) * (level + trend)
        trend = TREND * (level - before) + (1 - TREND) * DAMPING * trend
        seasons[month % YEAR] = SEASON * (value - level) + (1 - SEASON) * season
    ahead = []
    for month in range(len(history), len(history) + months):
        trend *= DAMPING
        level += trend
        ahead.append(level + seasons[month % YEAR])
    return ahead
