"""A box with a PID namespace, as a tree to be watched."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from harness.sandbox.fds import readable
from harness.sandbox.monitor.cpu import CpuContention
from harness.sandbox.monitor.memory import MemoryMeter, tmpfs_bytes


@dataclass(frozen=True, slots=True)
class BoxTree:
    """Alive as long as the namespace's first process is: the kernel ends the others before it.

    `proc` is a /proc directory that shows this box and nothing else, `tmpfs` are its own mounts.
    """

    init: int
    proc: int
    tmpfs: tuple[int, ...]
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

    def memory(self) -> float:
        """Return the memory held now as a share of what may be held."""
        pids = [name for name in os.listdir(self.proc) if name.isdigit()]  # noqa: PTH208  # no path
        self.contention.look(pids)
        return self.meter.read(pids, sum(tmpfs_bytes(each) for each in self.tmpfs))

    def full(self) -> bool:
        """Return False: a tmpfs that is full says so to whoever writes."""
        return False

    def kill(self) -> None:
        """Kill the namespace's first process."""
        try:
            signal.pidfd_send_signal(self.init, signal.SIGKILL)
        except ProcessLookupError:
            return

    def gone(self, wait: float) -> bool:
        """Say whether none is alive, after waiting at most `wait` seconds for it."""
        return readable(self.init, wait)
