"""The memory of a whole process tree.

Counted: the resident pages of every process (a shared page once, where that decides anything) and
the sandbox's own files. A tmpfs page that is also mapped counts twice.

Not covered: kernel memory on a sandbox's behalf (socket buffers, page tables).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

PAGE_BYTES = os.sysconf("SC_PAGESIZE")
INODE_BYTES = 1024  # approximate kernel memory of a file in a tmpfs
SMALL_BYTES = 8 << 20  # the sandbox's own two processes are smaller
EXACT_INTERVAL_S = 0.05  # an exact count walks all page tables


@dataclass(slots=True)
class MemoryMeter:
    """Measures processes in an open /proc directory; `limit` and `peak` are bytes."""

    proc: int
    limit: int
    peak: int = 0
    _exact_at: float = field(default=0.0)

    def read(self, pids: Sequence[str], files: int) -> float:
        """Return what the processes `pids` and their files hold, as a share of the limit.

        `files` is in bytes. The largest value is kept as `peak`.
        """
        resident = [size for pid in pids if (size := resident_bytes(self.proc, pid))]
        total = sum(resident) + files
        if total > self.peak and sum(size > SMALL_BYTES for size in resident) > 1:
            pause = EXACT_INTERVAL_S if total > self.limit else 5 * EXACT_INTERVAL_S
            if time.monotonic() - self._exact_at < pause:
                return min(1.0, total / self.limit)
            total = sum(proportional_bytes(self.proc, pid) for pid in pids) + files
            self._exact_at = time.monotonic()
        self.peak = max(self.peak, total)
        return total / self.limit


def resident_bytes(proc: int, pid: str) -> int:
    """Return a process's resident bytes, 0 when it is gone.

    Where only its first thread has ended, the process reports nothing and the others report all.
    """
    size = _resident(proc, pid)
    return size or max((_resident(proc, thread) for thread in threads(proc, pid)), default=0)


def _resident(proc: int, process: str) -> int:
    fields = read_bytes(proc, f"{process}/statm").split()
    return int(fields[1]) * PAGE_BYTES if fields else 0


def threads(proc: int, pid: str) -> list[str]:
    """Return the folders of the threads of a process, below the open /proc."""
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
    """Return a process's proportional bytes: private memory plus its part of shared memory.

    A process may deny this to us; then all its resident memory counts.
    """
    try:
        text = read_bytes(proc, f"{pid}/smaps_rollup")
    except PermissionError:
        return resident_bytes(proc, pid)
    match = re.search(rb"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(match.group(1)) * 1024 if match else resident_bytes(proc, pid)


def tmpfs_bytes(folder: int) -> int:
    """Return the bytes of a tmpfs: blocks and files."""
    stat = os.fstatvfs(folder)
    return (stat.f_blocks - stat.f_bfree) * stat.f_frsize + (
        stat.f_files - stat.f_ffree
    ) * INODE_BYTES


def read_bytes(folder: int, name: str) -> bytes:
    """Return the first 64 KiB of a file of /proc, nothing where its process is gone."""
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
