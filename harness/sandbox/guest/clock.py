"""The clock of a budget as a sandboxed program reads it.

The harness publishes, in a page that only it can write, the time from which the budget counts: the
program's start, later by what other programs have taken of its cores since (see `monitor.clock`).
"""

from __future__ import annotations

import os
import struct
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VARIABLE = "SWARM_CLOCK"
"""Environment variable with the page's descriptor."""

LAYOUT = struct.Struct("q")  # nanoseconds of time.monotonic()


class Deadline(float):
    """The end of a budget, a time of `time.monotonic()`: looked up whenever it is used.

    It moves later while other programs have the cores, never earlier. A copy as a plain number
    stays where it is, so code that keeps one stops early.
    """

    seconds: float

    def __new__(cls, seconds: float) -> Deadline:
        """Return the deadline that many seconds of the budget after its start."""
        self = super().__new__(cls, began() + seconds)
        self.seconds = seconds
        return self

    def __float__(self) -> float:
        return max(super().__float__(), began(super().__float__() - self.seconds) + self.seconds)

    def __lt__(self, other: float) -> bool:
        return float(self) < other

    def __le__(self, other: float) -> bool:
        return float(self) <= other

    def __gt__(self, other: float) -> bool:
        return float(self) > other

    def __ge__(self, other: float) -> bool:
        return float(self) >= other

    def __add__(self, other: float) -> float:
        return float(self) + other

    __radd__ = __add__

    def __sub__(self, other: float) -> float:
        return float(self) - other

    def __rsub__(self, other: float) -> float:
        return other - float(self)

    def __repr__(self) -> str:
        return repr(float(self))

    def __format__(self, spec: str) -> str:
        return format(float(self), spec)

    def __reduce__(self) -> tuple[type[float], tuple[float]]:
        """Return how another process makes a copy, which is a plain number."""
        return float, (float(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> Deadline:
        return self

    def __copy__(self) -> Deadline:
        return self


def began(otherwise: float | None = None) -> float:
    """Return the time from which the budget counts now; `otherwise` (now) where none is told."""
    number = os.environ.get(VARIABLE, "")
    data = b""
    if number:
        try:
            data = os.pread(int(number), LAYOUT.size, 0)
        except OSError:  # the program has closed it
            data = b""
    if len(data) == LAYOUT.size and any(data):
        return float(LAYOUT.unpack(data)[0]) / 1e9
    return time.monotonic() if otherwise is None else otherwise
