"""Whom a box runs as: its own unprivileged uid where we are root, ourselves elsewhere.

Inside a user namespace of root's the kernel still sees uid 0: files of /proc/sys open for writing
and RLIMIT_NPROC does not bind (measured). A real uid has neither problem.

Not covered: two containers that share a kernel without user namespaces may draw the same uid;
their boxes then share one process limit, nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from harness.contract import SetupError

RANGE = 32_000


@cache
def box_uid() -> int | None:
    """Return the uid, and gid, of this process's boxes; None where we are not root.

    It follows from our pid, so that no two living supervisors share it, and lies in the upper
    part of the ids that are mapped here. Root with a single id (a user namespace made by a plain
    user) is a plain user.
    """
    if os.geteuid():
        return None
    lines = Path("/proc/self/uid_map").read_text().split()
    inside, count = int(lines[-3]), int(lines[-1])
    if count < 2 * RANGE:
        return None
    start = inside + min(count, 2**31) - RANGE
    return start - RANGE * (start > 2**30) + os.getpid() % RANGE


def check_readable(paths: Iterable[Path]) -> None:
    """Raise SetupError for an input that only we can read, where the box is another user."""
    if box_uid() is None:
        return
    for path in paths:
        wanted = 0o005 if path.is_dir() else 0o004
        if path.stat().st_mode & wanted != wanted:
            raise SetupError(
                f"{path} is closed to other users, and as root a box runs under a uid of its own: "
                f"`chmod -R o+rX {path}`, or run swarm as a plain user"
            )


def check_reachable(paths: Iterable[Path]) -> None:
    """Raise SetupError for a path that the box's user cannot reach by its name, or not read.

    That is for boxes without mounts: there a file is where it is on the host.
    """
    wanted = [path.resolve() for path in paths] if box_uid() is not None else []
    for folder in sorted({folder for path in wanted for folder in path.parents}):
        if not folder.stat().st_mode & 0o001:
            raise SetupError(
                f"{folder} is closed to other users, and as root a box runs under a uid of its "
                f"own: `chmod o+x {folder}`, or run swarm, and its Python, elsewhere"
            )
    check_readable(wanted)
