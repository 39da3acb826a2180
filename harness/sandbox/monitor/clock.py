"""The clock of a sandbox's budget: wall time less what others took of its cores.

The supervisor kills by this clock, and the program reads it in a page of memory that it cannot
write (`guest.clock`): its deadline is looked up, and a copy of it only makes it stop early. A
sandbox that takes MAX_WALL budgets of wall time says nothing, nor does one that stood still: its
HarnessError is a DisturbedError.

On a GPU the clock is wall time: what the host lost is in the Exit.

A machine also changes its speed, and a budget is not scaled by it, nor a score corrected: the speed
of a kernel of 0.2 s before and after each trial varied by 12 %, the steps of one commit of `gpt` in
10 s by 2.7 %. One commit on one seed repeats its score 5.5 (3.1 to 9.7) times worse on scaled
budgets, and 1.3 (0.8 to 2.4) times with scores corrected by the slope, for 3.8 % of the time
(tests/benchmarks/bench_speed.py, 14 trials a way, two cores of a virtual machine).
"""

from __future__ import annotations

import fcntl
import mmap
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from typing import Self

from harness.contract import DisturbedError
from harness.sandbox.guest.clock import LAYOUT

STILL_S = 2.0
"""Seconds that the watchdog may sleep longer than it wanted; 15 busy programs a core cost 0.1."""

_SEAL_FUTURE_WRITE = 0x10  # F_SEAL_FUTURE_WRITE of linux/fcntl.h: our own mapping stays writable


class ClockPage:
    """A page of memory that this process writes and a sandbox reads, through the descriptor `fd`.

    Outside Linux a sandboxed program could write it, but there nothing is confined.
    """

    def __init__(self) -> None:
        if sys.platform == "linux":
            self.fd = os.memfd_create("clock", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        else:
            with tempfile.TemporaryFile() as file:
                self.fd = os.dup(file.fileno())
        os.truncate(self.fd, mmap.PAGESIZE)
        self._memory = mmap.mmap(self.fd, mmap.PAGESIZE)
        if sys.platform == "linux":
            fixed = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fixed | _SEAL_FUTURE_WRITE)

    def publish(self, began: float) -> None:
        """Write the time from which the budget counts."""
        self._memory[: LAYOUT.size] = LAYOUT.pack(int(began * 1e9))  # one store of 8 bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._memory.close()
        os.close(self.fd)


@dataclass(slots=True)
class BudgetClock:
    """The clock of `seconds` of budget that began at `at`, a time of `time.monotonic()`.

    max_wall: wall time, in budgets, after which the sandbox is void
    counts_lost: whether what others take extends the budget
    """

    at: float
    seconds: float
    max_wall: float
    counts_lost: bool
    page: ClockPage | None = None
    lost: float = field(default=0.0)
    _asleep: float = field(init=False)

    def __post_init__(self) -> None:
        self._asleep = _suspended()
        self._publish()

    def left(self) -> float:
        """Return the seconds of wall time after which to look again whether the budget is spent."""
        return self.seconds + self.lost - (time.monotonic() - self.at)

    def lose(self, seconds: float) -> None:
        """Take in what others have taken so far. Raises DisturbedError where that is too much."""
        if self.counts_lost and seconds > self.lost:
            self.lost = seconds
            self._publish()
        wall = time.monotonic() - self.at
        if wall > self.max_wall * self.seconds and self.lost > 0:
            raise DisturbedError(
                f"others took {self.lost / wall:.0%} of its cores' time, for {wall:.0f} s of a"
                f" {self.seconds:g} s budget",
                "busy",
            )

    def check_moving(self, late: float) -> None:
        """Raise DisturbedError where this machine or the watchdog stood still.

        `late` says by how many seconds a wait took longer than wanted.
        """
        late = max(late, _suspended() - self._asleep)
        if late > STILL_S:
            raise DisturbedError(f"everything stood still for {late:.0f} s", "still")

    def _publish(self) -> None:
        if self.page is not None:
            self.page.publish(self.at + self.lost)


def _suspended() -> float:
    """Return the seconds that this machine has been suspended, where monotonic time stops."""
    if sys.platform != "linux":
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
