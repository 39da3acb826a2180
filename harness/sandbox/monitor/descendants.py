"""Which processes of a machine are a box's, where no namespace says so.

They are the warden's descendants: it takes in their orphans. A process that was seen once is not
looked up again for a while, since most of a machine's are others'.

Not covered: a process of the box that gets the number of one of the machine's that has just ended
is taken for that one, for `REFRESH` seconds at most.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

REFRESH = 1.0  # seconds


@dataclass(slots=True)
class Descendants:
    """The descendants of the process `root`, which is none of them itself."""

    root: str
    _mine: dict[str, str] = field(default_factory=dict)  # by pid: when it was born
    _others: set[str] = field(default_factory=set)
    _fresh: float = field(default=0.0)

    def pids(self) -> list[str]:
        """Return those that are alive now."""
        now = time.monotonic()
        if now - self._fresh > REFRESH:
            self._mine, self._others, self._fresh = {}, set(), now
        present = {name for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208
        self._others &= present
        self._mine = {pid: born for pid, born in self._mine.items() if pid in present}
        new = {pid: _stat(pid) for pid in present - self._others - {*self._mine}}
        self._sort({pid: stat for pid, stat in new.items() if stat})
        return list(self._mine)

    def strays(self) -> list[str]:
        """Return those of the last look that are still alive and no other process by now."""
        return [pid for pid, born in self._mine.items() if (_stat(pid) or ("", ""))[1] == born]

    def _sort(self, new: dict[str, tuple[str, str]]) -> None:
        """Tell new processes by their parents; those of a parent that is gone wait for a look."""
        self._others |= {pid for pid in new if pid == self.root}
        waiting = {pid: each for pid, each in new.items() if pid != self.root}
        while known := [pid for pid, (parent, _) in waiting.items() if self._knows(parent)]:
            for pid in known:
                parent, born = waiting.pop(pid)
                if parent == self.root or parent in self._mine:
                    self._mine[pid] = born
                else:
                    self._others.add(pid)

    def _knows(self, parent: str) -> bool:
        return parent in ("0", self.root) or parent in self._mine or parent in self._others


def _stat(pid: str) -> tuple[str, str] | None:
    """Return a process's parent and when it was born, None where it is gone or dead."""
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
    # where only the first thread has ended, it looks dead and the others are not
    return None if state in "ZX" and int(threads) < 2 else (parent, born)  # noqa: PLR2004
