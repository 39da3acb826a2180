"""A box that a warden keeps, as a tree to be watched."""

from __future__ import annotations

import os
import re
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.sandbox.fds import readable
from harness.sandbox.monitor.cpu import CpuContention
from harness.sandbox.monitor.descendants import Descendants
from harness.sandbox.monitor.disk import DiskMonitor
from harness.sandbox.monitor.memory import MemoryMeter


@dataclass(frozen=True, slots=True)
class WardedTree:
    """Alive as long as its warden is, which ends all the others before itself."""

    warden: int
    kin: Descendants
    meter: MemoryMeter
    disk: DiskMonitor
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
        pids = self.kin.pids()
        self.disk.look(pids)
        self.contention.look(pids)
        return self.meter.read(pids, self.disk.held)

    def full(self) -> bool:
        """Say whether it has written more than it may."""
        return self.disk.full

    def kill(self) -> None:
        """Tell the warden to end the box, or end what is left where it is dead."""
        if not readable(self.warden, 0):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.warden, signal.SIGTERM)
            return
        for pid in self.kin.strays():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def gone(self, wait: float) -> bool:
        """Say whether none is alive, after waiting at most `wait` seconds for it."""
        return readable(self.warden, wait) and not self.kin.strays()


def process_of(handle: int) -> str:
    """Return the number of the process that a pidfd stands for."""
    about = Path(f"/proc/self/fdinfo/{handle}").read_text()
    found = re.search(r"^Pid:\s*(\d+)", about, re.MULTILINE)
    return found.group(1) if found else "0"
