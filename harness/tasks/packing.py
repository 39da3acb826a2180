"""The task `packing`: 26 circles in the unit square; the score is the sum of their radii.

A result is a JSON list of 26 triples [x, y, r]. The numbers are read as binary64; all arithmetic
after that is rational, so rounding helps no circle.

Two circles may overlap, and a circle may cross the border, by at most TOLERANCE: about a thousand
roundings of a number near one, so that honest code that lets circles touch passes. What this can
gain is bounded: radii smaller by TOLERANCE each would need none, so no accepted sum is more than
26e-12 above that of a true packing. The best sum known is 2.635983.

Not covered: whether the circles were found within the budget or written into the genome.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

from harness.contract import Direction, Evidence, SetupError, Split, Trial
from harness.tasks.base import (
    BuiltInKind,
    Confine,
    GenomeRun,
    InvalidError,
    SandboxRequest,
    TaskScore,
)

CIRCLES = 26

TOLERANCE = Fraction(1, 10**12)

RESULT = "circles.json"

MAX_RESULT_BYTES = 16 * 1024
"""26 triples with 17 digits a number take about 1,600."""

WRITE_MARGIN_S = 0.5
"""Seconds between the deadline that a candidate is told and the end of its budget, to write the
result and to exit. Eight sandboxes on two cores at load 5 had exited 0.05 to 0.15 s after it."""

_STATEMENT = f"{CIRCLES} circles in the unit square, sum of radii, tolerance {TOLERANCE}"


@dataclass(frozen=True, slots=True)
class Circle:
    """Centre and radius."""

    x: Fraction
    y: Fraction
    r: Fraction


@dataclass(frozen=True, slots=True)
class Packing:
    """The packing task; see `harness.tasks.base.Task` for the fields."""

    name: str = "packing"
    metric: str = "sum_of_radii"
    direction: Direction = "maximize"
    entry: str = "pack.py"
    torch: bool = False
    splits: tuple[Split, ...] = ("dev",)
    evidence: Evidence = "verified"
    preflights: bool = True

    def prepare(self, data: str) -> str:
        """Return the digest of the problem statement; there is no other data."""
        if data != "none":
            raise SetupError(f"task packing takes no data {data!r}: write `data: none`")
        return hashlib.sha256(_STATEMENT.encode()).hexdigest()

    def fresh_pieces(self, data: str) -> int:  # noqa: ARG002 - there is no data
        """Return 0: a packing is verified, and nothing about it is held out."""
        return 0

    def make_ready(self, trial: Trial, confine: Confine) -> None:
        """Do nothing: a genome is Python."""

    def sandbox_request(self, trial: Trial) -> SandboxRequest:
        """Return how to run `trial`."""
        seconds = max(trial.rung.seconds - WRITE_MARGIN_S, trial.rung.seconds / 2)
        args = (f"/genome/{trial.entry}", str(trial.seed), f"{seconds:.3f}", f"/out/{RESULT}")
        return SandboxRequest("packing.py", args, {RESULT: MAX_RESULT_BYTES}, bare=True)

    def preflight_request(self, trial: Trial) -> SandboxRequest:
        """Return how to preflight `trial`'s genome: it is imported."""
        return SandboxRequest("packing_preflight.py", (f"/genome/{trial.entry}",), {}, bare=True)

    def score(
        self,
        run: GenomeRun,
        trial: Trial,  # noqa: ARG002 - a packing's score does not depend on its trial
        confine: Confine,  # noqa: ARG002 - scoring runs no code of the candidate
    ) -> TaskScore:
        """Verify the circles and return the sum of their radii."""
        if RESULT not in run.artifacts:
            raise InvalidError(
                f"no {RESULT}: pack() must return {CIRCLES} circles before its deadline"
            )
        circles = parse(run.artifacts[RESULT].read_bytes())
        verify(circles)
        radii = [circle.r for circle in circles]
        facts = {"smallest_radius": float(min(radii)), "largest_radius": float(max(radii))}
        return TaskScore(float(sum(radii)), facts)


def parse(raw: bytes) -> list[Circle]:
    """Return the circles in `raw`. Raises InvalidError unless it is exactly a result."""
    if len(raw) > MAX_RESULT_BYTES:
        raise InvalidError(f"{RESULT} has more than {MAX_RESULT_BYTES} bytes")
    try:
        rows = json.loads(raw, parse_int=float)
    except (ValueError, RecursionError):  # not UTF-8, not JSON, or a thousand brackets deep
        raise InvalidError(f"{RESULT} is not JSON") from None
    if not isinstance(rows, list) or len(rows) != CIRCLES:
        returned = len(rows) if isinstance(rows, list) else "no list of"
        raise InvalidError(f"{CIRCLES} circles are needed, {returned} were returned")
    return [_circle(index, row) for index, row in enumerate(rows)]


def _circle(index: int, row: object) -> Circle:
    numbers = row if isinstance(row, list) else []
    if len(numbers) != 3 or any(type(number) is not float for number in numbers):  # noqa: PLR2004
        raise InvalidError(f"circle {index} is not three numbers x, y, r")
    if not all(math.isfinite(number) for number in numbers):
        raise InvalidError(f"circle {index} has a number that is not finite")
    return Circle(*(Fraction(number) for number in numbers))


def verify(circles: list[Circle]) -> None:
    """Raise InvalidError, naming the worst circles, unless `circles` are a packing (exact)."""
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
        if not _disjoint(circles[i], circles[j])
    ]
    if overlaps:
        overlap, i, j = max(overlaps)
        more = f" ({len(overlaps)} pairs overlap)" if len(overlaps) > 1 else ""
        raise InvalidError(f"circles {i} and {j} overlap by {overlap:.3g}{more}")


def _crossing(circle: Circle) -> Fraction:
    """Return how far `circle` reaches out of the unit square; negative if it lies inside."""
    return circle.r - min(circle.x, circle.y, 1 - circle.x, 1 - circle.y)


def _near(circles: list[Circle]) -> list[tuple[int, int]]:
    """Return the pairs of circles inside the square whose distance needs exact arithmetic.

    About ten roundings of numbers up to 1 add up to less than 1e-14, so a pair that is 1e-12 apart
    in floating point is apart. Fractions for all 325 pairs would take 6 ms.
    """
    points = [(float(circle.x), float(circle.y), float(circle.r)) for circle in circles]
    return [
        (i, j)
        for (i, (x, y, r)), (j, (u, v, s)) in combinations(enumerate(points), 2)
        if (x - u) ** 2 + (y - v) ** 2 <= (r + s) ** 2 + 1e-12
    ]


def _disjoint(one: Circle, other: Circle) -> bool:
    reach = one.r + other.r - TOLERANCE
    return reach <= 0 or reach**2 <= _square(one, other)


def _overlap(one: Circle, other: Circle) -> float:
    """Return by how much two circles inside the square overlap, rounded, for messages."""
    return float(one.r + other.r) - math.sqrt(_square(one, other))


def _square(one: Circle, other: Circle) -> Fraction:
    return (one.x - other.x) ** 2 + (one.y - other.y) ** 2


TASK = Packing()

KIND = BuiltInKind(TASK, default_data="none")
