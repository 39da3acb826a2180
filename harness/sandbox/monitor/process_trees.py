"""The process tree of a sandbox, one class a kind: counted, watched, killed as a whole.

Not covered, where nothing is confined: everything a sandbox is for. A process that hops from pid to
pid faster than it can be found outlives the deadline; outside Linux so does every orphan.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import psutil

from harness.sandbox.fds import readable
from harness.sandbox.guest.limits import PR_SET_CHILD_SUBREAPER
from harness.sandbox.monitor.control_group import ControlGroup
from harness.sandbox.monitor.cpu import CpuContention, cpu_seconds
from harness.sandbox.monitor.descendants import Descendants
from harness.sandbox.monitor.disk import DiskMonitor
from harness.sandbox.monitor.memory import MemoryMeter, OpenSockets, socket_bytes, tmpfs_bytes


@dataclass(frozen=True, slots=True)
class _MeteredTree:
    """What the trees of confined programs share: their meters."""

    meter: MemoryMeter
    contention: CpuContention

    @property
    def peak(self) -> int:
        """The most bytes seen."""
        return self.meter.peak

    @property
    def foreign(self) -> float | None:
        """The share of the slice's cores that others had."""
        return self.contention.foreign

    @property
    def lost(self) -> float:
        """The seconds by which others made it wait so far."""
        return self.contention.lost

    def stopped(self) -> bool:
        """Return whether a signal has stopped one of its processes."""
        return self.contention.stopped


@dataclass(frozen=True, slots=True)
class NamespaceTree(_MeteredTree):
    """The processes of a PID namespace, alive as long as its first one: the kernel kills the rest.

    `init` is a pidfd of the first process, `proc` an open /proc directory that shows this namespace
    and nothing else, `tmpfs` are open directories, one for each of its own mounts, `group` is its
    control group where it has one; `sockets` says whether what these may hold counts.
    """

    init: int
    proc: int
    tmpfs: tuple[int, ...]
    group: ControlGroup | None = None
    sockets: bool = True

    def memory(self) -> float:
        """Return the memory held now as a share of the limit."""
        pids = self._pids()
        self.contention.look(pids)
        held = sum(tmpfs_bytes(mount) for mount in self.tmpfs)
        return self.meter.read(pids, held + (socket_bytes(self.proc) if self.sockets else 0))

    def cpu_seconds(self) -> float:
        """Return the CPU time used so far."""
        return sum(self.cpu_by_process().values())

    def cpu_by_process(self) -> dict[str, float]:
        """Return the CPU time of each living process and the children that it has reaped."""
        return {pid: cpu_seconds(self.proc, pid) for pid in self._pids()}

    def _pids(self) -> list[str]:
        return [name for name in os.listdir(self.proc) if name.isdigit()]  # noqa: PTH208  # no path

    def out_of_memory(self) -> bool:
        """Return whether the kernel has killed it for its memory."""
        return self.group is not None and self.group.out_of_memory()

    def full(self) -> bool:
        """Return False: a full tmpfs refuses the write itself."""
        return False

    def kill(self) -> None:
        """Kill the namespace's first process."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.init, signal.SIGKILL)

    def gone(self, wait: float) -> bool:
        """Return whether none is alive, after waiting at most `wait` seconds for it."""
        return readable(self.init, wait)


@dataclass(frozen=True, slots=True)
class SupervisedTree(_MeteredTree):
    """The processes below a supervisor, alive as long as it is: it kills all others before it ends.

    `supervisor` is a pidfd; `counted` finds the processes for `cpu_seconds`, in a thread of its
    own, `sockets` their sockets, if what these may hold counts.
    """

    supervisor: int
    descendants: Descendants
    counted: Descendants
    disk: DiskMonitor
    sockets: OpenSockets | None

    def cpu_seconds(self) -> float:
        """Return the CPU time used so far."""
        return sum(cpu_seconds(self.meter.proc, pid) for pid in self.counted.pids())

    def cpu_by_process(self) -> dict[str, float]:
        """Return nothing: the supervisor reports it all."""
        return {}

    def memory(self) -> float:
        """Return the memory held now as a share of the limit."""
        pids = self.descendants.pids()
        self.disk.look(pids)
        # the supervisor's time is the sandbox's: it answers its forks and reaps its orphans
        self.contention.look([*pids, self.descendants.root])
        held = self.sockets.read(pids) if self.sockets else 0
        return self.meter.read(pids, self.disk.used + held)

    def out_of_memory(self) -> bool:
        """Return False: the kernel does not limit it."""
        return False

    def full(self) -> bool:
        """Return whether it has written more than it may."""
        return self.disk.full

    def kill(self) -> None:
        """Tell the supervisor to end the sandbox, or kill what is left where it is dead."""
        if not readable(self.supervisor, 0):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.supervisor, signal.SIGTERM)
            return
        for pid in self.descendants.strays():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def gone(self, wait: float) -> bool:
        """Return whether none is alive, after waiting at most `wait` seconds for it."""
        return readable(self.supervisor, wait) and not self.descendants.strays()


class UnconfinedTree:
    """A child without walls and every process that it starts.

    `first` is the child's pid; `limit` and `peak` are bytes. `proc` is an open /proc, None where
    the system is not Linux: what others take of `cores` is unknown then. Orphans are found among
    our own children, since this process is a subreaper inside the `with` block. Make it
    before the child: children that exist already are not part of the tree, nor are the first
    processes of trees beside it; orphans of those may be taken for its own.
    """

    _living: ClassVar[set[UnconfinedTree]] = set()

    def __init__(self, limit: int, cores: Collection[int] = (), proc: int | None = None) -> None:
        self.limit = limit
        self.peak = 0
        self.first = 0
        self._contention = None if proc is None else CpuContention(proc, cores)
        self._others = {child.pid for child in psutil.Process().children()}

    def __enter__(self) -> UnconfinedTree:
        self._living.add(self)
        _set_subreaper(on=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._living.discard(self)
        _set_subreaper(on=bool(self._living))

    @property
    def foreign(self) -> float | None:
        """The share of the slice's cores that others had, None where it is unknown."""
        return None if self._contention is None else self._contention.foreign

    @property
    def lost(self) -> float:
        """The seconds by which others made it wait so far."""
        return self._contention.lost if self._contention else 0.0

    def stopped(self) -> bool:
        """Return False: it is not looked for without a sandbox."""
        return False

    def cpu_seconds(self) -> None:
        """Return None: it is not measured without a sandbox."""
        return

    def cpu_by_process(self) -> dict[str, float]:
        """Return nothing: every process is our descendant, and reaped by us or its parent."""
        return {}

    def memory(self) -> float:
        """Return the memory held now as a share of the limit."""
        total, processes = 0, self._look()[0]
        if self._contention is not None:
            self._contention.look([str(process.pid) for process in processes])
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        self.peak = max(self.peak, total)
        return total / self.limit

    def out_of_memory(self) -> bool:
        """Return False: the kernel does not limit it."""
        return False

    def full(self) -> bool:
        """Return False: the disk is not limited without a sandbox."""
        return False

    def kill(self) -> None:
        """Kill every process that can be found; those born meanwhile fall to the next call."""
        for process in self._look()[0]:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def gone(self, wait: float) -> bool:
        """Return whether none is alive, after waiting at most `wait` seconds for it.

        Two looks in a row have to find nothing: a process may be reparented between two.
        """
        limit, quiet = time.monotonic() + wait, 0
        while quiet < 2:  # noqa: PLR2004  # two looks
            busy = any(self._look())
            quiet = 0 if busy else quiet + 1
            if busy and time.monotonic() > limit:
                return False
            time.sleep(0.002 * busy)
        return True

    def _look(self) -> tuple[list[psutil.Process], bool]:
        """Return the living processes of the tree, and whether dead orphans were reaped.

        They are reaped at every look: a storm of short lives leaves thousands. One look at all of
        the machine's processes serves for the whole tree; a look for each of its processes had not
        ended after 8 minutes where 8 processes had hopped through 8,000 pids (measured).
        """
        children: dict[int, list[_Seen]] = {}
        for seen in _processes():
            children.setdefault(seen.parent, []).append(seen)
        others = self._others | {tree.first for tree in self._living.copy() if tree is not self}
        mine = [child for child in children.get(os.getpid(), []) if child.pid not in others]
        orphans = [child.pid for child in mine if child.dead and child.pid != self.first]
        for pid in orphans:
            with suppress(ChildProcessError):  # a tree beside it, in another thread, has reaped it
                os.waitpid(pid, 0)
        alive: list[psutil.Process] = []
        while mine:
            seen = mine.pop()
            mine += children.get(seen.pid, [])
            alive += [] if seen.dead else [seen.process]
        return alive, bool(orphans)


def pid_of(handle: int) -> str:
    """Return the pid, as text, of the process behind a pidfd; "0" where it is gone."""
    about = Path(f"/proc/self/fdinfo/{handle}").read_text()
    match = re.search(r"^Pid:\s*(\d+)", about, re.MULTILINE)
    return match.group(1) if match else "0"


def _set_subreaper(*, on: bool) -> None:
    """Let orphans be reparented to us or, as usual, to the machine's first process."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A process of this machine: itself, its number, its parent's, and whether it is a zombie."""

    process: psutil.Process
    pid: int
    parent: int
    dead: bool


def _processes() -> Iterator[_Seen]:
    """Yield every process of the machine.

    Not by `psutil.process_iter`: its objects are cached, and threads overwrite each other's facts.
    """
    for pid in psutil.pids():
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                seen = _Seen(process, pid, process.ppid(), process.status() == psutil.STATUS_ZOMBIE)
        except psutil.Error:  # gone, or none of ours
            continue
        yield seen
