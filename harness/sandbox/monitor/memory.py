"""The memory of a whole process tree.

Counted: the resident pages of every process (a shared page once, where that decides anything), its
page tables, the sandbox's own files, and, but for the user's own commands, what the buffers of its
sockets may hold. A tmpfs page that is also mapped counts twice. A page that was only read is
nobody's, but its page table is 4 KiB for each 2 MiB of addresses: 16 GiB in ten seconds.

Not covered: other kernel memory on a sandbox's behalf, of which each kind has a limit of its own
(stacks, pipes, descriptors), and buffers of sockets in the user's own commands, which may have many
by right; control groups count these (`harness.sandbox.monitor.control_group`).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from harness.sandbox.kernel_files import kernel_text

PAGE_BYTES = os.sysconf("SC_PAGESIZE")
INODE_BYTES = 1024  # approximate kernel memory of a file in a tmpfs
SMALL_BYTES = 8 << 20  # the sandbox's own two processes are smaller
TABLE_BYTES = 8  # of a page table's entry for a page
USUAL_SOCKETS = 32  # whose buffers do not count
SEND_BUFFER = Path("/proc/sys/net/core/wmem_default")  # bytes of a socket, half more at times
COUNT_COSTS = 20  # counting descriptors takes at most 1/20 of the time
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
    """Return a process's resident bytes with its page tables, 0 when it is gone.

    Where only its first thread has ended, the process reports nothing and the others report all.
    """
    size = _resident(proc, pid)
    return size or max((_resident(proc, thread) for thread in threads(proc, pid)), default=0)


def _resident(proc: int, process: str) -> int:
    fields = read_bytes(proc, f"{process}/statm").split()
    if not fields:
        return 0
    mapped, resident = int(fields[0]), int(fields[1])
    tables = _table_bytes(proc, process) if mapped * TABLE_BYTES > SMALL_BYTES else 0
    return resident * PAGE_BYTES + tables


def _table_bytes(proc: int, process: str) -> int:
    """Return the bytes of a process's page tables."""
    found = re.search(rb"^VmPTE:\s+(\d+) kB", read_bytes(proc, f"{process}/status"), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def socket_bytes(proc: int) -> int:
    """Return what the buffers of the sockets in the network namespace of `proc` may hold."""
    found = re.search(rb"^sockets: used (\d+)", read_bytes(proc, "1/net/sockstat"), re.MULTILINE)
    return _buffers(int(found[1])) if found else 0


@dataclass(slots=True)
class OpenSockets:
    """Counts the sockets of processes in an open /proc directory, in their descriptors."""

    proc: int
    _held: int = field(default=0)
    _next: float = field(default=0.0)

    def read(self, pids: Sequence[str]) -> int:
        """Return what the buffers of the processes' sockets may hold, in bytes."""
        if sum(_descriptors(self.proc, pid) for pid in pids) <= USUAL_SOCKETS:
            return 0
        began = time.monotonic()
        if began >= self._next:
            self._held = _buffers(sum(_sockets(self.proc, pid) for pid in pids))
            now = time.monotonic()
            self._next = now + max(5 * EXACT_INTERVAL_S, COUNT_COSTS * (now - began))
        return self._held


def _descriptors(proc: int, pid: str) -> int:
    """Return how many descriptors a process has; before Linux 6.2, 0."""
    with suppress(OSError):
        return os.stat(f"{pid}/fd", dir_fd=proc).st_size  # no path
    return 0


def _sockets(proc: int, pid: str) -> int:
    """Return how many of a process's descriptors are sockets."""
    count = 0
    with suppress(OSError):
        folder = os.open(f"{pid}/fd", os.O_RDONLY | os.O_DIRECTORY, dir_fd=proc)
        try:
            for name in os.listdir(folder):  # noqa: PTH208  # no path
                with suppress(OSError):
                    count += os.readlink(name, dir_fd=folder).startswith("socket:")
        finally:
            os.close(folder)
    return count


def _buffers(sockets: int) -> int:
    return max(0, sockets - USUAL_SOCKETS) * _buffer_bytes()


@cache
def _buffer_bytes() -> int:
    """Return what the buffer of a socket holds at most, which a program here cannot raise."""
    return int(kernel_text(SEND_BUFFER) or 0) * 3 // 2


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
    """Return a process's proportional bytes: private memory, its part of shared, its page tables.

    A process may deny this to us; then all its resident memory counts.
    """
    try:
        text = read_bytes(proc, f"{pid}/smaps_rollup")
    except PermissionError:
        return resident_bytes(proc, pid)
    match = re.search(rb"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    if match is None:
        return resident_bytes(proc, pid)
    return int(match.group(1)) * 1024 + _table_bytes(proc, pid)


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
