"""Disk use of a sandbox that has no tmpfs of its own to limit it.

Counted are its folders, and open files that were unlinked. A folder that cannot be read, is too
deep or has too many entries counts as over the limit.

Not covered: a sandbox is killed for what it has written one look too late; looking takes at most a
tenth of the time. A file with neither name nor descriptor (mapped, or in flight through a socket)
is not seen; but the disk is never allowed to run full.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from harness.contract import HarnessError

INODE_BYTES = 1024  # approximate size of a file besides its blocks
MAX_DEPTH = 64  # nested folders
MAX_ENTRIES = 20_000  # files and folders in one folder
RESERVE_BYTES = 256 << 20  # stays free whatever sandboxes write
SLACK_PARTS = 8  # 1/8 over the limit passes: a full tmpfs refuses a write, this kills
PAUSE_FACTOR = 9  # the pause after a look, in multiples of its duration
TOO_MANY_BYTES = 1 << 62


@dataclass(slots=True)
class DiskMonitor:
    """Measures open folders, each with its limit in bytes; `used` is the last sum.

    The first folder's limit also holds for unlinked open files.
    """

    folders: Sequence[tuple[int, int]]
    used: int = 0
    full: bool = False
    _next: float = field(default=0.0)

    def look(self, pids: Iterable[str]) -> None:
        """Measure what the folders and the processes `pids` hold, if the last look was long ago.

        Raises HarnessError where the disk itself is nearly full, whatever filled it.
        """
        began = time.monotonic()
        if began < self._next:
            return
        device = os.fstat(self.folders[0][0]).st_dev
        sizes = [FolderCount().of(folder) for folder, _ in self.folders]
        nameless = sum(nameless_files(pids, device).values())
        most = [most + most // SLACK_PARTS for _, most in self.folders]
        self.full = nameless > most[0] or any(map(int.__gt__, sizes, most))
        self.used = min(sum(sizes) + nameless, sum(most))
        now = time.monotonic()
        self._next = now + PAUSE_FACTOR * (now - began)
        self._check_room()

    def _check_room(self) -> None:
        about = os.fstatvfs(self.folders[0][0])
        free = about.f_bavail * about.f_frsize
        if free < RESERVE_BYTES and not self.full:
            raise HarnessError(f"the disk of temporary files has {free >> 20} MiB left")


@dataclass(slots=True)
class FolderCount:
    """Counts one folder, up to MAX_ENTRIES entries."""

    entries: int = 0

    def of(self, folder: int, depth: int = 0) -> int:
        """Return the bytes below an open folder."""
        total = 0
        with os.scandir(folder) as entries:
            for entry in entries:
                self.entries += 1
                if self.entries > MAX_ENTRIES:
                    return TOO_MANY_BYTES
                with suppress(FileNotFoundError):
                    total += self._entry(entry.name, folder, depth)
        return total

    def _entry(self, name: str, folder: int, depth: int) -> int:
        about = os.stat(name, dir_fd=folder, follow_symlinks=False)
        size = about.st_blocks * 512 + INODE_BYTES
        if not stat.S_ISDIR(about.st_mode):
            return size
        try:
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
        except PermissionError:
            return TOO_MANY_BYTES  # unreadable
        except NotADirectoryError:
            return size  # replaced meanwhile
        try:
            return size + (TOO_MANY_BYTES if depth > MAX_DEPTH else self.of(inner, depth + 1))
        finally:
            os.close(inner)


def nameless_files(pids: Iterable[str], device: int) -> dict[int, int]:
    """Return the bytes of unlinked files on `device` that processes hold open, by inode.

    Each thread is read, since a thread may have descriptors of its own.
    """
    sizes: dict[int, int] = {}
    for folder in (folder for pid in pids for folder in _descriptors(pid)):
        for number in _names(folder):
            with suppress(FileNotFoundError, ProcessLookupError, PermissionError):  # it is ending
                about = os.stat(f"{folder}/{number}")  # noqa: PTH116
                nameless = stat.S_ISREG(about.st_mode) and about.st_nlink == 0
                if nameless and about.st_dev == device:
                    sizes[about.st_ino] = about.st_blocks * 512 + INODE_BYTES
    return sizes


def _descriptors(pid: str) -> list[str]:
    return [f"/proc/{pid}/task/{thread}/fd" for thread in _names(f"/proc/{pid}/task")]


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208  # 10 times as fast
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []
