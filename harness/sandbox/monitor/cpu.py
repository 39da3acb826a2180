"""CPU contention: the share of a slice's cores that others took, and the time that this cost.

Time in which a core was neither idle nor running the sandbox was foreign: another program, the
kernel, or a hypervisor that gave it to another machine. Our own watching counts as foreign too.

`lost` is the time that the sandbox's clock leaves out: how long its threads, though ready to run,
waited for a core (the kernel's run delay, shared among the threads that were ready), plus what a
hypervisor took; where threads keep several cores busy, all that others took. It is never more than
the foreign time of the mean core, nor so much that its busiest thread ran longer than the clock.
Those bounds are what a candidate cannot lengthen: all CPU time of the sandbox counts as its own,
whatever its processes do. Children that end are counted with those that wait for them, and the
filter lets no program but a user's command ignore SIGCHLD, so the kernel forgets none; what a
process may hide in the rounding of its times is taken off. So per budget a sandbox gets at most the
CPU time that idle cores would give it. While others took 78 to 90 % of two cores (load 12), a
program of one thread got 0.997 ± 0.007 of its CPU time beside a lesser load, one of two threads
0.985 to 0.99 of what idle cores give.

Not covered:
- commands of the user's own (`event_loop`), which need SIGCHLD: children that they ignore and that
  end between two looks are forgotten, so their time counts as foreign and their budget is longer;
- unpinned slices, systems other than Linux: nothing is measured;
- runs without a sandbox: what ends and is reaped between two looks counts as foreign;
- GPUs: a neighbour's work on the device is not seen, only its use of the slice's cores;
- caches, memory bandwidth and frequency that others share with the slice;
- a slice of several cores of which others use only some: work that hops from thread to thread may
  get more serial time than its clock shows, never more CPU time than idle cores would give it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from harness.sandbox.monitor.memory import read_bytes, threads

LOOK_INTERVAL_S = 0.04  # a look takes some 0.1 ms with few threads
LOOK_COSTS = 50  # looks take at most 1/50 of the time, however many threads there are
MAX_WAIT_S = 1.0  # for a core, in one piece
MIN_ELAPSED_S = 0.25  # the kernel counts in hundredths of a second
STOPPED = b"T"  # state of a process that a signal has stopped
STAT = Path("/proc/stat")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class _Cores(NamedTuple):
    """Seconds since the start of the machine, summed over the slice's cores."""

    idle: float
    stolen: float


@dataclass(frozen=True, slots=True)
class _Look:
    """One reading, in seconds: the clock, the cores' times, the sandbox's own CPU time.

    `rounding` is by how much more that may be.
    """

    at: float
    cores: _Cores
    own: float
    rounding: float


@dataclass(slots=True)
class CpuContention:
    """Compares the CPU time of processes, found in an open /proc directory, with their `cores`.

    `stopped` says whether a signal had stopped one of them at both of the last two looks.
    """

    proc: int
    cores: Collection[int]
    stat: Path = STAT
    clock: Callable[[], float] = time.monotonic
    stopped: bool = field(default=False)
    _were_stopped: bool = field(default=False)
    _next: float = field(default=0.0)
    _first: _Look | None = field(default=None)
    _last: _Look | None = field(default=None)
    _threads: dict[str, tuple[int, int]] = field(default_factory=dict)
    _delayed: float = field(default=0.0)
    _ran: float = field(default=0.0)
    _unexplained: float = field(default=0.0)
    _busiest: float = field(default=0.0)

    def look(self, pids: Sequence[str]) -> None:
        """Read the clocks, if the last look is old enough; `pids` are the sandbox's processes."""
        now = self.clock()
        if not self.cores or now < self._next:
            return
        cores = _core_seconds(self.stat, self.cores)
        if cores is None:
            return
        times = [_times(self.proc, pid) for pid in pids]
        own, rounding = sum(each.seconds for each in times), sum(each.rounding for each in times)
        if self._last is not None:  # a process may end, or be reaped, between two reads
            own = max(own, self._last.own)
        last, self._last = self._last, _Look(now, cores, own, rounding)
        if last is not None:
            elapsed = now - last.at
            spent = cores.idle - last.cores.idle + own - last.own
            self._add_delays(pids, elapsed, elapsed - spent / len(self.cores))
        stopped = any(each.state == STOPPED for each in times)
        self.stopped, self._were_stopped = stopped and self._were_stopped, stopped
        self._first = self._first or self._last
        self._next = now + max(LOOK_INTERVAL_S, LOOK_COSTS * (self.clock() - now))

    @property
    def foreign(self) -> float | None:
        """The share of the cores' time that was foreign, None where it is unknown."""
        elapsed = self._elapsed
        if self._first is None or self._last is None or elapsed < MIN_ELAPSED_S:
            return None
        spent = self._last.cores.idle - self._first.cores.idle + self._last.own - self._first.own
        return max(0.0, 1 - spent / (elapsed * len(self.cores)))

    @property
    def lost(self) -> float:
        """The seconds by which others made the sandbox wait."""
        foreign = self.foreign
        if foreign is None or self._first is None or self._last is None:
            return 0.0
        most = max(0.0, foreign * self._elapsed - self._last.rounding / len(self.cores))
        if not self._ran:  # this kernel does not tell how long threads wait
            return most
        # no thread gets more CPU time than the clock shows, whatever the mean core lost
        most = max(0.0, min(most, self._elapsed - self._busiest))
        stolen = (self._last.cores.stolen - self._first.cores.stolen) / len(self.cores)
        return min(most, self._delayed + stolen)

    def _parallel(self) -> bool:
        """Return whether threads keep all of several cores busy, as far as others let them.

        Then a core that others have is lost also while no thread is ready, since they wait for
        each other.
        """
        count, ran = (
            len(self.cores),
            sorted((ran for ran, _ in self._threads.values()), reverse=True),
        )
        return 1 < count <= len(ran) and ran[count - 1] > ran[0] / 2

    @property
    def _elapsed(self) -> float:
        return self._last.at - self._first.at if self._first and self._last else 0.0

    def _add_delays(self, pids: Sequence[str], elapsed: float, taken: float) -> None:
        """Add what the threads' waiting since the last look cost.

        `elapsed` is the time since, `taken` what others had of the mean core meanwhile.
        """
        now = {
            thread: (int(fields[0]), int(fields[1]))
            for pid in pids
            for thread in threads(self.proc, pid)
            if len(fields := read_bytes(self.proc, f"{thread}/schedstat").split()) > 1
        }
        moved = [
            (ran - before[0], waited - before[1])
            for thread, (ran, waited) in now.items()
            for before in (self._threads.get(thread, (0, 0)),)
        ]
        ran, waited = sum(each[0] for each in moved) / 1e9, sum(each[1] for each in moved) / 1e9
        ready, room = ran + waited, self._unexplained + elapsed
        if self._parallel():
            self._delayed += taken
        elif ready > 0:
            self._delayed += min(room, ready) * waited / ready
        # the kernel tells of a wait when it is over, which may have begun some looks ago
        self._unexplained = min(MAX_WAIT_S, max(0.0, room - ready))
        self._ran, self._threads = self._ran + ran, now
        busiest = max((ran for ran, _ in now.values()), default=0) / 1e9
        self._busiest = max(self._busiest, busiest)


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
        spent = last.cores.idle - self._first.cores.idle + last.own - self._first.own + own
        return max(0.0, 1 - spent / (elapsed * len(self._cores)))

    @staticmethod
    def _look(cores: Collection[int]) -> _Look | None:
        seconds = _core_seconds(STAT, cores) if cores else None
        own = sum(os.times()[:4])
        return None if seconds is None else _Look(time.monotonic(), seconds, own, 0.0)


def _core_seconds(stat: Path, cores: Collection[int]) -> _Cores | None:
    """Return the summed times of `cores`, None where the kernel does not report them."""
    try:
        lines = stat.read_text().splitlines()
    except FileNotFoundError:
        return None
    wanted = {f"cpu{core}" for core in cores}
    rows = [words for line in lines if (words := line.split()) and words[0] in wanted]
    if len(rows) < len(wanted):
        return None
    # columns: user, nice, system, idle, iowait (idle too), irq, softirq, steal
    idle = sum(int(row[4]) + int(row[5]) for row in rows)
    return _Cores(idle * TICK_S, sum(int(row[8]) for row in rows) * TICK_S)


class _Times(NamedTuple):
    """A process's state and CPU seconds, with those of the children that it has reaped."""

    state: bytes
    seconds: float
    fields: int

    @property
    def rounding(self) -> float:
        """The seconds that may be missing: each of its counters is rounded down."""
        return self.fields * TICK_S


def _times(proc: int, pid: str) -> _Times:
    _, _, rest = read_bytes(proc, f"{pid}/stat").rpartition(b")")  # the name may hold anything
    fields = rest.split()
    if not fields:
        return _Times(b"", 0.0, 0)
    ticks = [int(field) for field in fields[11:15]]
    return _Times(fields[0], sum(ticks) * TICK_S, sum(tick > 0 for tick in ticks))


def cpu_seconds(proc: int, pid: str) -> float:
    """Return the CPU seconds of a process and the children that it has reaped."""
    return _times(proc, pid).seconds
