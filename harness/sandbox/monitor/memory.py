"""How much memory a whole process tree holds.

Counted: the resident pages of every process, a shared page once wherever that decides anything,
and what lies in the box's own files. A tmpfs page that is mapped too counts twice.

Not covered: kernel memory on a box's behalf (socket buffers, page tables).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

PAGE = os.sysconf("SC_PAGESIZE")
INODE = 1024  # bytes of kernel memory for each file of a tmpfs, about
SMALL = 8 << 20  # bytes; below it are the box's own two processes
EXACT_EVERY = 0.05  # seconds; an exact count walks all page tables


@dataclass(slots=True)
class MemoryMeter:
    """Reads the memory of processes in an open /proc directory. `limit` and `peak` are bytes."""

    proc: int
    limit: int
    peak: int = 0
    _exact_at: float = field(default=0.0)

    def read(self, pids: Sequence[str], files: int) -> float:
        """Count the processes `pids` and the bytes of their files, and keep the peak.

        Returns what is held as a share of the limit.
        """
        resident = [held for pid in pids if (held := resident_bytes(self.proc, pid))]
        held = sum(resident) + files
        if held > self.peak and sum(each > SMALL for each in resident) > 1:
            pause = EXACT_EVERY if held > self.limit else 5 * EXACT_EVERY
            if time.monotonic() - self._exact_at < pause:
                return min(1.0, held / self.limit)
            held = sum(proportional_bytes(self.proc, pid) for pid in pids) + files
            self._exact_at = time.monotonic()
        self.peak = max(self.peak, held)
        return held / self.limit


def resident_bytes(proc: int, pid: str) -> int:
    """Return a process's resident memory, 0 when it is gone.

    Where only its first thread has ended, the process shows nothing and the others show all.
    """
    held = _resident(proc, pid)
    return held or max((_resident(proc, thread) for thread in _threads(proc, pid)), default=0)


def _resident(proc: int, process: str) -> int:
    fields = read_bytes(proc, f"{process}/statm").split()
    return int(fields[1]) * PAGE if fields else 0


def _threads(proc: int, pid: str) -> list[str]:
    try:
        number = os.open(f"{pid}/task", os.O_RDONLY | os.O_DIRECTORY, dir_fd=proc)
    except (FileNotFoundError, ProcessLookupError):
        return []
    try:
        return [f"{pid}/task/{name}" for name in os.listdir(number)]  # noqa: PTH208  # no path
    except (FileNotFoundError, ProcessLookupError):
        return []
    finally:
        os.close(number)


def proportional_bytes(proc: int, pid: str) -> int:
    """Return a process's share of memory: what it has alone, and its part of what is shared.

    A process may close this count to us; then all that is resident is its own.
    """
    try:
        text = read_bytes(proc, f"{pid}/smaps_rollup")
    except PermissionError:
        return resident_bytes(proc, pid)
    found = re.search(rb"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else resident_bytes(proc, pid)


def tmpfs_bytes(folder: int) -> int:
    """Return what a tmpfs holds in blocks and in files."""
    stat = os.fstatvfs(folder)
    return (stat.f_blocks - stat.f_bfree) * stat.f_frsize + (stat.f_files - stat.f_ffree) * INODE


def read_bytes(folder: int, name: str) -> bytes:
    """Return the beginning of a file of /proc, nothing where its process is gone."""
    try:
        number = os.open(name, os.O_RDONLY, dir_fd=folder)
    except (FileNotFoundError, ProcessLookupError):
        return b""
    try:
        return os.read(number, 1 << 16)
    except ProcessLookupError:
        return b""
    finally:
        os.close(number)
