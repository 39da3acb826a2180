"""Scores forecast.py on series that it has never seen.

`candidate.forecast(...)` runs in another sandbox and comes back as plain data, so the candidate
cannot read the months that it has to forecast, and cannot change how they are compared.
"""

from __future__ import annotations

import math
import random
from typing import Any

SERIES, YEARS, YEAR = 40, 6, 12

ODD_MONTHS = 0.05
"""Share of months that are far off."""


def evaluate(candidate: Any, seed: int, part: str) -> float:
    """Return the mean error of the candidate's forecasts, that of repeating last year being 1."""
    rng = random.Random(f"{part} {seed}")
    missed = naive = 0.0
    for _ in range(SERIES):
        series = draw(rng)
        history, truth = series[:-YEAR], series[-YEAR:]
        told = candidate.forecast(history, YEAR)
        if not isinstance(told, list) or len(told) != YEAR:
            raise ValueError(f"forecast must return {YEAR} numbers")
        missed += sum(abs(float(a) - b) for a, b in zip(told, truth, strict=True))
        naive += sum(abs(a - b) for a, b in zip(history[-YEAR:], truth, strict=True))
    return missed / naive


def draw(rng: random.Random) -> list[float]:
    """Return the monthly sales of one product."""
    level, trend = rng.uniform(50, 150), rng.gauss(0, 0.5)
    swing, phase = rng.uniform(5, 30), rng.uniform(0, math.tau)
    series = []
    for month in range(YEARS * YEAR):
        level += trend + rng.gauss(0, 1)
        trend *= 0.98
        season = swing * math.sin(math.tau * month / YEAR + phase)
        odd = rng.gauss(0, 40) if rng.random() < ODD_MONTHS else 0.0
        series.append(level + season + rng.gauss(0, 5) + odd)
    return series
