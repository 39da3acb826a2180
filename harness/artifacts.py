"""Takes what a genome left out of its reach: opened without following, checked, copied, read-only.

Everything below the folder was written by hostile code that is dead by now (its box has ended), so
nothing races with us; but names may be links, FIFOs, devices, hard links or sparse giants.

Not covered: two names of the task's own list that are copies of one another (harmless).
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from harness.tasks.base import InvalidError

_PIECE = 1 << 20


def freeze(folder: Path, leaves: Mapping[str, int], into: Path) -> dict[str, Path]:
    """Copy the files named in `leaves` (name to most bytes) from `folder` to the new `into`.

    Returns the copies by name; a file that is not there is left out. Raises InvalidError, in one
    line, for anything that is not a small enough, singly linked regular file.
    """
    into.mkdir()
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = {name: _take(directory, name, cap, into) for name, cap in leaves.items()}
    finally:
        os.close(directory)
    return {name: path for name, path in found.items() if path is not None}


def digests(sealed: Mapping[str, Path]) -> dict[str, str]:
    """Return the sha256 of each sealed file by name, as `sha256sum` would print it."""
    found = {}
    for name, path in sealed.items():
        with path.open("rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _take(directory: int, name: str, cap: int, into: Path) -> Path | None:
    try:
        source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except FileNotFoundError:
        return None
    except OSError as error:  # a link, a socket, a folder without permission
        raise InvalidError(f"{name} is not a regular file ({error.strerror})") from error
    try:
        _check(name, os.fstat(source), cap)
        _copy(source, into / name, cap)
    finally:
        os.close(source)
    return into / name


def _copy(source: int, path: Path, cap: int) -> None:
    """Copy `cap` bytes at most from `source`, piece by piece, since they may be a gigabyte."""
    left = cap
    with path.open("xb") as copy:
        while left and (piece := os.read(source, min(left, _PIECE))):
            copy.write(piece)
            left -= len(piece)
    path.chmod(0o444)


def _check(name: str, facts: os.stat_result, cap: int) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise InvalidError(f"{name} is not a regular file")
    if facts.st_nlink != 1:
        raise InvalidError(f"{name} has {facts.st_nlink} links; it must have one")
    if facts.st_size > cap:
        raise InvalidError(f"{name} has {facts.st_size:,} bytes; {cap:,} are allowed")
