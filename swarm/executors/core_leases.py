"""Leases of CPU cores among the runs of one user on this machine: a lock for each core.

A lease is an flock on a file in the user's runtime folder; the kernel drops it with the process.

Not covered: runs of other users, and runs in other containers.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from analysis.file_lock import lock

_FIX = "set XDG_RUNTIME_DIR to a folder of yours on a local disk, where launches see each other"


@contextmanager
def lease_cores(cores: Collection[int], folder: Path | None = None) -> Iterator[dict[int, str]]:
    """Lease what is free of `cores` for the block; yield who holds the others, by core."""
    place = folder or _runtime_folder()
    taken: dict[int, str] = {}
    with ExitStack() as stack:
        for core in sorted(cores):
            if place is None:
                break
            file = stack.enter_context((place / f"core{core}").open("a+"))
            try:
                lock(file, file.name, wait=False, fix=_FIX)
            except BlockingIOError:
                file.seek(0)
                taken[core] = file.read().strip() or "another process"
                continue
            file.truncate(0)
            file.write(f"pid {os.getpid()}")
            file.flush()
        yield taken


def _runtime_folder() -> Path | None:
    """Return a folder of ours alone, None where there is none."""
    base = os.environ.get("XDG_RUNTIME_DIR") or f"{tempfile.gettempdir()}/swarm-{os.getuid()}"
    folder = Path(base) / "swarm-cores"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.lstat()
    except OSError:
        return None
    ours = stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid()
    return folder if ours and not about.st_mode & 0o022 else None
