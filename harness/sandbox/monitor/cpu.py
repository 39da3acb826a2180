"""How much of a slice's cores others took while a box ran on them.

What a core did besides being idle, and not for the box, somebody else had: another program, the
kernel, or the hypervisor that gave it to another machine. The coordinator's share is among it.

Not covered:
- slices that are not pinned, tier 0, systems other than Linux: nothing is measured;
- GPUs: a neighbour's work on the device is not seen, only what it takes of the slice's cores;
- a box whose children end within a look, untaken leave of (SIGCHLD ignored), hides time of its own,
  which then counts as others'; it gains no score by that, at most a trial that is run again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.sandbox.monitor.memory import read_bytes

EVERY = 0.25  # seconds between two looks; one takes some 0.1 ms
LEAST = 0.25  # seconds; the kernel counts in hundredths
STAT = Path("/proc/stat")


@dataclass(frozen=True, slots=True)
class _Look:
    """A moment: the time, how long the cores had been idle, and how long the box had run."""

    at: float
    idle: float
    own: float


@dataclass(slots=True)
class CpuContention:
    """Compares a box's processes, found in an open /proc directory, with what its `cores` did."""

    proc: int
    cores: Collection[int]
    stat: Path = STAT
    clock: Callable[[], float] = time.monotonic
    _first: _Look | None = field(default=None)
    _last: _Look | None = field(default=None)

    def look(self, pids: Sequence[str]) -> None:
        """Note where the clocks stand, if the last look is old enough; `pids` are the box's."""
        now = self.clock()
        if not self.cores or (self._last is not None and now - self._last.at < EVERY):
            return
        idle = _idle(self.stat, self.cores)
        if idle is None:
            return
        ran = sum(_ran(self.proc, pid) for pid in pids)
        self._last = _Look(now, idle, ran)
        self._first = self._first or self._last

    @property
    def foreign(self) -> float | None:
        """Return the share of the cores' time that others had, None where it is not known."""
        if self._first is None or self._last is None:
            return None
        elapsed = self._last.at - self._first.at
        if elapsed < LEAST:
            return None
        there = elapsed * len(self.cores)
        spent = self._last.idle - self._first.idle + self._last.own - self._first.own
        return max(0.0, 1 - spent / there)


def _idle(stat: Path, cores: Collection[int]) -> float | None:
    """Return how many seconds `cores` have been idle in all, None where the kernel does not say."""
    try:
        lines = stat.read_text().splitlines()
    except FileNotFoundError:
        return None
    wanted = {f"cpu{core}" for core in cores}
    rows = [words for line in lines if (words := line.split()) and words[0] in wanted]
    if len(rows) < len(wanted):
        return None
    # user, nice, system, idle, and idle while a disk was waited for
    return sum(int(row[4]) + int(row[5]) for row in rows) / os.sysconf("SC_CLK_TCK")


def _ran(proc: int, pid: str) -> float:
    """Return how many seconds a process, and the children that it took leave of, have run."""
    _, _, rest = read_bytes(proc, f"{pid}/stat").rpartition(b")")  # the name may hold anything
    return sum(map(int, rest.split()[11:15])) / os.sysconf("SC_CLK_TCK")
