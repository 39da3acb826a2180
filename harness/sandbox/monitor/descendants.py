"""Finds a sandbox's processes without a PID namespace.

They are the supervisor's descendants: it is the subreaper of their orphans. A process once
classified is not looked up again for a while, since most of a machine's belong to others.

Not covered: a process of the sandbox that gets the pid of another that has just ended is taken for
that one, for `REFRESH_S` seconds at most.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

REFRESH_S = 1.0  # seconds


@dataclass(slots=True)
class Descendants:
    """The descendants of the process `root`, without itself."""

    root: str
    _mine: dict[str, str] = field(default_factory=dict)  # start time by pid
    _others: set[str] = field(default_factory=set)
    _refreshed_at: float = field(default=0.0)

    def pids(self) -> list[str]:
        """Return the pids that are alive now."""
        now = time.monotonic()
        if now - self._refreshed_at > REFRESH_S:
            self._mine, self._others, self._refreshed_at = {}, set(), now
        present = {name for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208
        self._others &= present
        self._mine = {pid: born for pid, born in self._mine.items() if pid in present}
        new = {pid: _stat(pid) for pid in present - self._others - {*self._mine}}
        self._classify({pid: stat for pid, stat in new.items() if stat})
        return list(self._mine)

    def strays(self) -> list[str]:
        """Return the pids of the last look that are still alive and still the same process."""
        return [pid for pid, born in self._mine.items() if (_stat(pid) or ("", ""))[1] == born]

    def _classify(self, new: dict[str, tuple[str, str]]) -> None:
        """Classify new processes by their parents; those of an unknown parent wait for a look."""
        self._others |= {pid for pid in new if pid == self.root}
        waiting = {pid: process for pid, process in new.items() if pid != self.root}
        while ready := [pid for pid, (parent, _) in waiting.items() if self._is_classified(parent)]:
            for pid in ready:
                parent, born = waiting.pop(pid)
                if parent == self.root or parent in self._mine:
                    self._mine[pid] = born
                else:
                    self._others.add(pid)

    def _is_classified(self, parent: str) -> bool:
        return parent in ("0", self.root) or parent in self._mine or parent in self._others


def _stat(pid: str) -> tuple[str, str] | None:
    """Return a process's parent and start time, None where it is gone or dead."""
    try:
        number = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except (FileNotFoundError, ProcessLookupError):
        return None
    try:
        fields = os.read(number, 4096).rpartition(b")")[2].split()
    except ProcessLookupError:
        return None
    finally:
        os.close(number)
    state, parent, threads, born = (fields[index].decode() for index in (0, 1, 17, 19))
    # where only the first thread has ended, the process looks dead while others run
    return None if state in "ZX" and int(threads) < 2 else (parent, born)  # noqa: PLR2004
