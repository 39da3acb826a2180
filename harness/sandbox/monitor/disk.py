"""How much of the host's disk a box holds, where it has no tmpfs of its own to be full.

Counted are its folders, and files that have no name any more but are open. What cannot be looked
into, or is deeper or of more parts than anybody means, counts as too much.

Not covered: a box is ended for what it has written, a look too late; one look takes at most a
tenth of the time. A file that has neither name nor descriptor, because it is mapped or on its way
through a socket, is not seen; but a disk is never let run full.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from harness.contract import HarnessError

INODE = 1024  # bytes that a file takes beside its blocks, about
DEEP = 64  # folders within folders
MANY = 20_000  # files and folders in one
RESERVE = 256 << 20  # bytes that stay free whatever the boxes write
SLACK = 8  # one part in so many is let pass: a full tmpfs refuses a write, this ends the box
PAUSE = 9  # times as long as a look took
TOO_MUCH = 1 << 62


@dataclass(slots=True)
class DiskMonitor:
    """Looks at open folders, each with the most bytes that it may hold; `held` is the last sum.

    The first folder's bytes are also the most that nameless files may hold.
    """

    folders: Sequence[tuple[int, int]]
    held: int = 0
    full: bool = False
    _next: float = field(default=0.0)

    def look(self, pids: Iterable[str]) -> None:
        """Count what the folders, and the processes `pids`, hold; not more often than is cheap.

        Raises HarnessError where the disk itself is about to be full, whoever filled it.
        """
        began = time.monotonic()
        if began < self._next:
            return
        device = os.fstat(self.folders[0][0]).st_dev
        held = [Count().of(folder) for folder, _ in self.folders]
        nameless = sum(nameless_files(pids, device).values())
        most = [most + most // SLACK for _, most in self.folders]
        self.full = nameless > most[0] or any(map(int.__gt__, held, most))
        self.held = min(sum(held) + nameless, sum(most))
        now = time.monotonic()
        self._next = now + PAUSE * (now - began)
        self._check_room()

    def _check_room(self) -> None:
        about = os.fstatvfs(self.folders[0][0])
        free = about.f_bavail * about.f_frsize
        if free < RESERVE and not self.full:
            raise HarnessError(f"the disk of temporary files has {free >> 20} MiB left")


@dataclass(slots=True)
class Count:
    """Counts one folder, up to MANY parts."""

    parts: int = 0

    def of(self, folder: int, depth: int = 0) -> int:
        """Return the bytes below an open folder."""
        total = 0
        with os.scandir(folder) as entries:
            for entry in entries:
                self.parts += 1
                if self.parts > MANY:
                    return TOO_MUCH
                with suppress(FileNotFoundError):
                    total += self._entry(entry.name, folder, depth)
        return total

    def _entry(self, name: str, folder: int, depth: int) -> int:
        about = os.stat(name, dir_fd=folder, follow_symlinks=False)
        size = about.st_blocks * 512 + INODE
        if not stat.S_ISDIR(about.st_mode):
            return size
        try:
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
        except PermissionError:
            return TOO_MUCH  # shut to us
        except NotADirectoryError:
            return size  # another thing by now
        try:
            return size + (TOO_MUCH if depth > DEEP else self.of(inner, depth + 1))
        finally:
            os.close(inner)


def nameless_files(pids: Iterable[str], device: int) -> dict[int, int]:
    """Return the bytes of files on `device` that processes hold open and no folder does.

    Each thread is asked, since a thread may have descriptors of its own.
    """
    found: dict[int, int] = {}
    for folder in (folder for pid in pids for folder in _descriptors(pid)):
        for number in _names(folder):
            with suppress(FileNotFoundError, ProcessLookupError, PermissionError):  # it is ending
                about = os.stat(f"{folder}/{number}")  # noqa: PTH116
                nameless = stat.S_ISREG(about.st_mode) and about.st_nlink == 0
                if nameless and about.st_dev == device:
                    found[about.st_ino] = about.st_blocks * 512 + INODE
    return found


def _descriptors(pid: str) -> list[str]:
    return [f"/proc/{pid}/task/{thread}/fd" for thread in _names(f"/proc/{pid}/task")]


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208  # 10 times as fast
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []
