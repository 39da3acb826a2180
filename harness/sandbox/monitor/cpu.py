"""Foreign CPU load: the share of a slice's cores that other programs used during a trial.

Time in which a core was neither idle nor running the sandbox was foreign: another program, the
kernel, or a hypervisor that gave it to another machine. The coordinator's share counts as foreign.

Not covered:
- unpinned slices, runs without a sandbox, systems other than Linux: nothing is measured;
- GPUs: a neighbour's work on the device is not seen, only its use of the slice's cores;
- a sandbox whose children end unreaped between two looks (SIGCHLD ignored) hides CPU time of its
  own, which then counts as foreign; that gains no score, at most a repeated trial.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.sandbox.monitor.memory import read_bytes

LOOK_INTERVAL_S = 0.25  # a look takes some 0.1 ms
MIN_ELAPSED_S = 0.25  # the kernel counts in hundredths of a second
STAT = Path("/proc/stat")


@dataclass(frozen=True, slots=True)
class _Look:
    """One reading, in seconds: the clock, the cores' idle time, the sandbox's own CPU time."""

    at: float
    idle: float
    own: float


@dataclass(slots=True)
class CpuContention:
    """Compares the CPU time of processes, found in an open /proc directory, with their `cores`."""

    proc: int
    cores: Collection[int]
    stat: Path = STAT
    clock: Callable[[], float] = time.monotonic
    _first: _Look | None = field(default=None)
    _last: _Look | None = field(default=None)

    def look(self, pids: Sequence[str]) -> None:
        """Read the clocks, if the last look is old enough; `pids` are the sandbox's processes."""
        now = self.clock()
        if not self.cores or (self._last is not None and now - self._last.at < LOOK_INTERVAL_S):
            return
        idle = _idle_seconds(self.stat, self.cores)
        if idle is None:
            return
        own = sum(cpu_seconds(self.proc, pid) for pid in pids)
        self._last = _Look(now, idle, own)
        self._first = self._first or self._last

    @property
    def foreign(self) -> float | None:
        """The share of the cores' time that was foreign, None where it is unknown."""
        if self._first is None or self._last is None:
            return None
        elapsed = self._last.at - self._first.at
        if elapsed < MIN_ELAPSED_S:
            return None
        available = elapsed * len(self.cores)
        spent = self._last.idle - self._first.idle + self._last.own - self._first.own
        return max(0.0, 1 - spent / available)


class CoreUse:
    """Foreign CPU load of several sandboxes together, from now on; this process counts as own."""

    def __init__(self, cores: Collection[int]) -> None:
        self._cores, self._first = cores, self._look(cores)

    def foreign(self, own: float) -> float | None:
        """Return the share of the cores' time that was foreign, given the sandboxes' CPU seconds.

        None where it is unknown.
        """
        last = self._look(self._cores)
        if self._first is None or last is None:
            return None
        elapsed = last.at - self._first.at
        if elapsed < MIN_ELAPSED_S:
            return None
        spent = last.idle - self._first.idle + last.own - self._first.own + own
        return max(0.0, 1 - spent / (elapsed * len(self._cores)))

    @staticmethod
    def _look(cores: Collection[int]) -> _Look | None:
        idle = _idle_seconds(STAT, cores) if cores else None
        return None if idle is None else _Look(time.monotonic(), idle, sum(os.times()[:4]))


def _idle_seconds(stat: Path, cores: Collection[int]) -> float | None:
    """Return the summed idle seconds of `cores`, None where the kernel does not report them."""
    try:
        lines = stat.read_text().splitlines()
    except FileNotFoundError:
        return None
    wanted = {f"cpu{core}" for core in cores}
    rows = [words for line in lines if (words := line.split()) and words[0] in wanted]
    if len(rows) < len(wanted):
        return None
    # columns: user, nice, system, idle, iowait (idle too)
    return sum(int(row[4]) + int(row[5]) for row in rows) / os.sysconf("SC_CLK_TCK")


def cpu_seconds(proc: int, pid: str) -> float:
    """Return the CPU seconds of a process and the children that it has reaped."""
    _, _, rest = read_bytes(proc, f"{pid}/stat").rpartition(b")")  # the name may hold anything
    return sum(map(int, rest.split()[11:15])) / os.sysconf("SC_CLK_TCK")
