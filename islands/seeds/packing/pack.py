"""Packs 26 circles into the unit square so that the sum of their radii is large.

Generation zero of the `packing` task: it works, and little more. The harness runs this file in a
sandbox and calls one function; everything else may change. Only numpy and the standard library are
available.

`pack(seed, deadline)` returns 26 triples (x, y, r). It must return before `deadline`, a time of
time.monotonic(). The harness checks in exact arithmetic that no circle crosses the border or
overlaps another (by more than 1e-12) and adds up the radii itself. All randomness comes from
`seed`; each trial has its own.

How it works: circles are laid out, then climb: each grows at a steady rate, while overlapping
circles push each other apart and shrink; the border does the same to a circle that crosses it.
They still overlap a little at the end, so finally every radius is cut until all fit.

Each knob is on a line of its own with a comment between, so that two changes merge.
"""

from __future__ import annotations

import math
import time

import numpy as np

CIRCLES = 26

# Initial layout.
START = "grid"  # one of: grid, staggered, random
# Standard deviation of the random move of each centre before a climb.
JITTER = 0.05
# Initial radius of every circle.
RADIUS = 0.05
# Layouts that climb in parallel; the best one counts.
TRIES = 64
# Rounds of this, time permitting.
ROUNDS = 1
# After the first round, start from the best packing so far, moved at random.
IMPROVE_BEST = False
# Steps of a climb.
STEPS = 100
# Length of a step.
STEP = 0.003
# Fraction of the last step that is added to a step.
MOMENTUM = 0.5
# Shorten steps linearly towards the end of a climb.
COOL = False
# Force of circles and border, relative to growth.
PUSH = 10.0
# Factor by which that force grows during a climb.
HARDEN = 1.0
# Times that, after the fit, each circle in turn grows until it touches something.
REGROW = 0
# Least distance of centres from the border, and least radius before the fit.
MARGIN = 0.005
# End of the knobs.


def pack(seed: int, deadline: float) -> list[tuple[float, float, float]]:
    """Return 26 circles (x, y, r) that fit, before `deadline`."""
    rng = np.random.default_rng(seed)
    best = best_of(fit(climb(layouts(rng), deadline)))
    for _ in range(ROUNDS - 1):
        if time.monotonic() > deadline:
            break
        around = np.broadcast_to(best[:, :2], (TRIES, CIRCLES, 2))
        centres = moved(around, rng) if IMPROVE_BEST else layouts(rng)
        best = best_of(np.concatenate([[best], fit(climb(centres, deadline))]))
    return [(float(x), float(y), float(r)) for x, y, r in best]


def best_of(packings: np.ndarray) -> np.ndarray:
    """Return the packing [26, 3] of `packings` [N, 26, 3] with the largest sum of radii."""
    best: np.ndarray = packings[packings[:, :, 2].sum(axis=1).argmax()]
    return best


def layouts(rng: np.random.Generator) -> np.ndarray:
    """Return centres [TRIES, 26, 2]: five rows of five and one at random, or all at random."""
    centres = rng.random((TRIES, CIRCLES, 2))
    if START != "random":
        side = math.isqrt(CIRCLES)
        ticks = np.linspace(0, 1, 2 * side + 1)[1::2]
        grid = np.stack(np.meshgrid(ticks, ticks), axis=-1)
        if START == "staggered":
            grid[::2, :, 0] -= ticks[0] / 2
            grid[1::2, :, 0] += ticks[0] / 2
        centres[:, : side**2] = grid.reshape(-1, 2)
    return moved(centres, rng)


def moved(centres: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return `centres` moved at random inside the square."""
    return inside(centres + rng.normal(0, JITTER, centres.shape))


def inside(centres: np.ndarray) -> np.ndarray:
    """Return `centres`, each at least MARGIN inside the square."""
    return centres.clip(MARGIN, 1 - MARGIN)


def climb(centres: np.ndarray, deadline: float) -> np.ndarray:
    """Let circles grow and push each other; return [N, 26, 3], which still overlap."""
    circles = np.concatenate([centres, np.full_like(centres[..., :1], RADIUS)], axis=-1)
    step = np.zeros_like(circles)
    for done in np.linspace(0, 1, STEPS):
        if time.monotonic() > deadline:
            break
        length = STEP * (1 - done) if COOL else STEP
        step = MOMENTUM * step + length * slope(circles, PUSH * HARDEN**done)
        circles = circles + step
    return circles


def slope(circles: np.ndarray, push: float) -> np.ndarray:
    """Return the uphill direction for each x, y and r: larger radii, less overlap."""
    x, y, r = np.moveaxis(circles, -1, 0)
    right, up, distance = between(x, y)
    overlap = (r[:, :, None] + r[:, None] - distance).clip(0)
    share = overlap / distance
    low_x, high_x = (r - x).clip(0), (x + r - 1).clip(0)
    low_y, high_y = (r - y).clip(0), (y + r - 1).clip(0)
    pushed_x = (share * right).sum(axis=2) + low_x - high_x
    pushed_y = (share * up).sum(axis=2) + low_y - high_y
    squeezed = overlap.sum(axis=2) + low_x + high_x + low_y + high_y
    return np.stack([push * pushed_x, push * pushed_y, 1 - push * squeezed], axis=-1)


def between(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the offsets and distance of each pair of circles, [N, 26, 26]; inf to itself."""
    right, up = x[:, :, None] - x[:, None], y[:, :, None] - y[:, None]
    distance = np.sqrt(right**2 + up**2).clip(1e-12)
    distance[:, range(CIRCLES), range(CIRCLES)] = np.inf
    return right, up, distance


def fit(circles: np.ndarray) -> np.ndarray:
    """Return circles with the same centres whose radii fit."""
    x, y = np.moveaxis(inside(circles[..., :2]), -1, 0)
    border = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
    distance = between(x, y)[2]
    radii = circles[..., 2].clip(MARGIN, border)
    # Two circles share the distance between them in proportion to their radii.
    share = radii[:, :, None] / (radii[:, :, None] + radii[:, None])
    radii = np.minimum(border, (distance * share).min(axis=2))
    for _ in range(REGROW):
        for i in range(CIRCLES):
            radii[:, i] = np.minimum(border[:, i], (distance[:, i] - radii).min(axis=1))
    return np.stack([x, y, radii], axis=-1)
