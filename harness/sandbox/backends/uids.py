"""The uid of a sandbox: an unprivileged one of its own where we are root, else the caller's.

In a user namespace made by root the kernel still sees uid 0: files of /proc/sys open for writing
and RLIMIT_NPROC does not bind (measured). A real uid has neither problem.

Not covered: two containers that share a kernel without user namespaces may choose the same uid;
their sandboxes then share one process limit, nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from harness.contract import SetupError

UID_RANGE = 32_000


@cache
def sandbox_uid() -> int | None:
    """Return the uid, also the gid, of this process's sandboxes; None where we are not root.

    It is derived from our pid, so that no two living harness processes share it, and lies in the
    upper part of the mapped ids. Root with a single id (in a user namespace made by a plain user)
    counts as a plain user.
    """
    if os.geteuid():
        return None
    lines = Path("/proc/self/uid_map").read_text().split()
    inside, count = int(lines[-3]), int(lines[-1])
    if count < 2 * UID_RANGE:
        return None
    start = inside + min(count, 2**31) - UID_RANGE
    return start - UID_RANGE * (start > 2**30) + os.getpid() % UID_RANGE


def check_readable(paths: Iterable[Path]) -> None:
    """Raise SetupError for an input that a sandbox with another uid could not read."""
    if sandbox_uid() is None:
        return
    for path in paths:
        wanted = 0o005 if path.is_dir() else 0o004
        if path.stat().st_mode & wanted != wanted:
            raise SetupError(
                f"{path} is closed to other users, and as root a sandbox has a uid of its own: "
                f"`chmod -R o+rX {path}`, or run swarm as a plain user"
            )


def check_reachable(paths: Iterable[Path]) -> None:
    """Raise SetupError for a path that the sandbox's uid cannot reach or read.

    For sandboxes without mounts, where a file is at its path on the host.
    """
    wanted = [path.resolve() for path in paths] if sandbox_uid() is not None else []
    for folder in sorted({folder for path in wanted for folder in path.parents}):
        if not folder.stat().st_mode & 0o001:
            raise SetupError(
                f"{folder} is closed to other users, and as root a sandbox has a uid of its "
                f"own: `chmod o+x {folder}`, or run swarm, and its Python, elsewhere"
            )
    check_readable(wanted)
