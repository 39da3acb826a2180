"""Takes what a dead box has left in its own memory to the folders that its policy names.

A box never writes to the host's disk: it writes to a tmpfs of bounded size, and what counts is
copied from there when nothing of the box is alive to change it. So no link, pipe or device, no
odd owner or mode and no flood of files reaches the host.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from itertools import islice
from pathlib import Path

MOST_FILES = 256


def collect(folder: int, to: Path, most: int) -> None:
    """Copy the regular files at the top of the open directory `folder` into `to`.

    At most MOST_FILES of them, and as long as all together have at most `most` bytes; what is
    not taken is, for whoever looks for it, not there.
    """
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in islice(entries, MOST_FILES))
    for name in names:
        with suppress(PermissionError):  # its mode, or the folder's, shuts us out
            size = _size(name, folder)
            if size is not None and size <= most:
                _copy(name, folder, to)
                most -= size


def _size(name: str, folder: int) -> int | None:
    """Return the size of a regular file, None for anything else."""
    about = os.stat(name, dir_fd=folder, follow_symlinks=False)
    return about.st_size if stat.S_ISREG(about.st_mode) else None


def _copy(name: str, folder: int, to: Path) -> None:
    """Copy a file that no one can change any more."""
    source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
    with os.fdopen(source, "rb") as file, (to / name).open("xb") as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
