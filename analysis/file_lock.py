"""Locks on open files by flock, and the line for a file system that refuses them.

The kernel drops a lock when its holder ends, whatever happens. Network file systems and some
container runtimes refuse flock (ENOLCK, ENOSYS, EOPNOTSUPP): nothing of a run can be written there.
"""

from __future__ import annotations

import fcntl
from typing import Protocol

from harness.contract import SetupError

FIX = "put the repository, or its .swarm as a link, on a local disk"
"""What a person does about locks that a run's folder cannot have."""


class Descriptor(Protocol):
    """An open file."""

    def fileno(self) -> int:
        """Return its number."""


def lock(file: Descriptor | int, path: object, *, wait: bool, fix: str = FIX) -> None:
    """Lock an open file, `path` by name, for this process alone.

    Raises BlockingIOError where another process holds it and `wait` is false, and SetupError, with
    the `fix`, where the file system refuses locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError as error:
        raise SetupError(
            f"{path}: this file system refuses locks ({error.strerror}): {fix}"
        ) from error
