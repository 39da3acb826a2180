"""The reader of hostile files: copies what a dead sandbox left to the folders of its policy.

Candidates wrote everything in the folder, but they are dead, so nothing changes while it is read.
Names may still be links, FIFOs, devices, hard links or sparse giants. A file is opened without
following links, checked, and copied up to its cap into a read-only file: so no link, pipe or
device, no odd owner or mode and no flood of files reaches the host, and weights are copied once.

Not covered: two names on a task's own list that are copies of one another (harmless).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from harness.sandbox.policy import SandboxPolicy

MAX_FILES = 256
"""Files that are taken from a folder where none is named."""

PIECE_BYTES = 1 << 20


class RefusedFileError(Exception):
    """A file that is not a regular, singly linked file within its cap; one line, with its name."""


def take_outputs(policy: SandboxPolicy, folders: Sequence[int]) -> dict[str, str]:
    """Copy from the open `folders`, one for each of `policy.write`; return why files are refused.

    The reasons, one line each, are by file name. Where the policy names no outputs, every file
    that passes the checks is taken, MAX_FILES at most, and the others are left out silently.
    """
    refused: dict[str, str] = {}
    for folder, to in zip(folders, policy.write.values(), strict=True):
        max_bytes = policy.file_mib << 20
        if policy.outputs is None:
            copy_files(folder, dict.fromkeys(_listed(folder), max_bytes), to, max_bytes)
        else:
            refused |= copy_files(folder, policy.outputs, to, max_bytes)
    return refused


def copy_files(
    folder: int, caps: Mapping[str, int], to: Path, max_bytes: int | None = None
) -> dict[str, str]:
    """Copy the files named in `caps` (name to most bytes) from the open `folder` to `to`.

    All together have at most `max_bytes`. Returns why each refused file is refused, by name;
    a file that does not exist is left out.
    """
    refused = {}
    for name, cap in caps.items():
        try:
            size = _copy_file(folder, name, cap if max_bytes is None else min(cap, max_bytes), to)
        except RefusedFileError as error:
            refused[name] = str(error)
        else:
            max_bytes = None if max_bytes is None else max_bytes - size
    return refused


def _listed(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in islice(entries, MAX_FILES))


def _copy_file(folder: int, name: str, cap: int, to: Path) -> int:
    """Copy one file; return its size in bytes, 0 where it does not exist."""
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer
        source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError:
        return 0
    except OSError as error:  # a link, a socket, a file or folder without permission
        raise RefusedFileError(f"{name} is not a regular file ({error.strerror})") from error
    try:
        _check(name, os.fstat(source), cap)
        return _copy(source, to / name, cap)
    finally:
        os.close(source)


def _copy(source: int, path: Path, cap: int) -> int:
    """Copy at most `cap` bytes in pieces, since they may be a gigabyte; return how many."""
    copied = 0
    with path.open("xb") as copy:
        while copied < cap and (piece := os.read(source, min(cap - copied, PIECE_BYTES))):
            copied += copy.write(piece)
    path.chmod(0o444)
    return copied


def _check(name: str, status: os.stat_result, cap: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise RefusedFileError(f"{name} is not a regular file")
    if status.st_nlink != 1:
        raise RefusedFileError(f"{name} has {status.st_nlink} links; it must have one")
    if status.st_size > cap:
        raise RefusedFileError(f"{name} has {status.st_size:,} bytes; {cap:,} are allowed")
