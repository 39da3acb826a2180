"""The task `packing`: 26 circles in the unit square, the larger the sum of their radii the better.

A result is a JSON list of 26 triples [x, y, r]. The numbers are read as binary64, and from there
on everything is rational arithmetic: a circle passes or it does not, and no rounding helps it.

Two circles may overlap, and a circle may cross the border, by at most TOLERANCE. That is some
thousand roundings of a number near one, so that honest code that lets circles touch passes. What
it can buy is bounded: radii smaller by TOLERANCE each would need none, so no accepted sum is more
than 26e-12 above that of a true packing. The best sum known is 2.635983.

Not covered: whether the circles were found within the budget or stood in the genome.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from pathlib import Path

from harness.contract import Direction, SetupError, Split, Trial
from harness.tasks.base import Confine, InvalidError, SandboxRequest, Scored

CIRCLES = 26

TOLERANCE = Fraction(1, 10**12)

LEFT = "circles.json"

MOST_BYTES = 16 * 1024
"""Of the result: 26 triples with 17 digits to a number take about 1,600."""

LEEWAY = 0.5
"""Seconds between the deadline that a candidate is told and the end of its budget: to write the
result and to end. Eight boxes on two cores at load 5 were gone 0.05 to 0.15 s after it."""

_STATEMENT = f"{CIRCLES} circles in the unit square, sum of radii, tolerance {TOLERANCE}"


@dataclass(frozen=True, slots=True)
class Circle:
    """Centre and radius."""

    x: Fraction
    y: Fraction
    r: Fraction


@dataclass(frozen=True, slots=True)
class Packing:
    """The task's three answers."""

    name: str = "packing"
    metric: str = "sum_of_radii"
    direction: Direction = "maximize"
    entry: str = "pack.py"
    torch: bool = False
    splits: tuple[Split, ...] = ("dev",)

    def prepare(self, data: str) -> str:
        """Return the digest of the problem, which is all the data there is."""
        if data != "none":
            raise SetupError(f"task packing takes no data {data!r}: say `data: none`, or nothing")
        return hashlib.sha256(_STATEMENT.encode()).hexdigest()

    def box(self, trial: Trial) -> SandboxRequest:
        """Say how to run `trial`; its clock starts now, a little before the budget's."""
        deadline = time.monotonic() + max(trial.rung.seconds - LEEWAY, trial.rung.seconds / 2)
        args = (f"/genome/{trial.entry}", str(trial.seed), f"{deadline:.3f}", f"/out/{LEFT}")
        return SandboxRequest(program="packing.py", args=args, leaves={LEFT: MOST_BYTES})

    def preflight(self, trial: Trial) -> SandboxRequest:
        """Say how to look at `trial`'s genome: it is imported."""
        return SandboxRequest("packing_preflight.py", (f"/genome/{trial.entry}",), leaves={})

    def score(
        self,
        left: Mapping[str, Path],
        trial: Trial,  # noqa: ARG002 - a packing is as good whatever trial it came from
        confine: Confine,  # noqa: ARG002 - nothing of the candidate's is run to score it
    ) -> Scored:
        """Verify the circles and return the sum of their radii."""
        if LEFT not in left:
            raise InvalidError(
                f"no {LEFT}: pack() must return {CIRCLES} circles before its deadline"
            )
        circles = parse(left[LEFT].read_bytes())
        verify(circles)
        radii = [circle.r for circle in circles]
        facts = {"smallest_radius": float(min(radii)), "largest_radius": float(max(radii))}
        return Scored(float(sum(radii)), facts)


def parse(raw: bytes) -> list[Circle]:
    """Return the circles that `raw` spells. Raises InvalidError unless it is exactly a result."""
    if len(raw) > MOST_BYTES:
        raise InvalidError(f"{LEFT} has more than {MOST_BYTES} bytes")
    try:
        rows = json.loads(raw, parse_int=float)
    except (ValueError, RecursionError):  # not UTF-8, not JSON, or a thousand brackets deep
        raise InvalidError(f"{LEFT} is not JSON") from None
    if not isinstance(rows, list) or len(rows) != CIRCLES:
        found = len(rows) if isinstance(rows, list) else "no list of"
        raise InvalidError(f"{CIRCLES} circles are asked for, {found} were returned")
    return [_circle(number, row) for number, row in enumerate(rows)]


def _circle(number: int, row: object) -> Circle:
    if not isinstance(row, list) or len(row) != 3 or any(type(part) is not float for part in row):  # noqa: PLR2004
        raise InvalidError(f"circle {number} is not three numbers x, y, r")
    if not all(math.isfinite(part) for part in row):
        raise InvalidError(f"circle {number} has a number that is not finite")
    return Circle(*(Fraction(part) for part in row))


def verify(circles: list[Circle]) -> None:
    """Raise InvalidError, naming the worst place, unless `circles` are a packing. Exact."""
    for number, circle in enumerate(circles):
        if circle.r <= 0:
            raise InvalidError(f"circle {number} has radius {float(circle.r):.6g}, not above 0")
        if not (0 <= circle.x <= 1 and 0 <= circle.y <= 1):
            raise InvalidError(f"circle {number} has its centre outside the unit square")
    crossing, number = max((_crossing(circle), number) for number, circle in enumerate(circles))
    if crossing > TOLERANCE:
        raise InvalidError(f"circle {number} crosses the border by {float(crossing):.3g}")
    overlaps = [
        (_overlap(circles[i], circles[j]), i, j)
        for i, j in _near(circles)
        if not _apart(circles[i], circles[j])
    ]
    if overlaps:
        overlap, i, j = max(overlaps)
        more = f" ({len(overlaps)} pairs overlap)" if len(overlaps) > 1 else ""
        raise InvalidError(f"circles {i} and {j} overlap by {overlap:.3g}{more}")


def _crossing(circle: Circle) -> Fraction:
    """Return how far `circle` reaches out of the unit square; below zero it lies inside."""
    return circle.r - min(circle.x, circle.y, 1 - circle.x, 1 - circle.y)


def _near(circles: list[Circle]) -> list[tuple[int, int]]:
    """Return the pairs of circles inside the square whose distance has to be looked at exactly.

    Of numbers that are at most 1, some ten roundings are below 1e-14 together, so that a pair that
    is apart by 1e-12 in floating point is apart. Fractions for all 325 pairs would take 6 ms.
    """
    points = [(float(circle.x), float(circle.y), float(circle.r)) for circle in circles]
    return [
        (i, j)
        for (i, (x, y, r)), (j, (u, v, s)) in combinations(enumerate(points), 2)
        if (x - u) ** 2 + (y - v) ** 2 <= (r + s) ** 2 + 1e-12
    ]


def _apart(one: Circle, other: Circle) -> bool:
    reach = one.r + other.r - TOLERANCE
    return reach <= 0 or reach**2 <= _square(one, other)


def _overlap(one: Circle, other: Circle) -> float:
    """Return by how much two circles inside the square overlap; rounded, for people."""
    return float(one.r + other.r) - math.sqrt(_square(one, other))


def _square(one: Circle, other: Circle) -> Fraction:
    return (one.x - other.x) ** 2 + (one.y - other.y) ** 2


TASK = Packing()
