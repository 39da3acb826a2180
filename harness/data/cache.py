"""The cache folder of corpora, its lock, and writes that survive a crash at any moment."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from harness.contract import SetupError

Progress = Callable[[str, float], None]
"""`progress(step, share)`: the current step and how much of it is done, from 0 to 1."""

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_ACCESS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}


def corpus_root(name: str) -> Path:
    """Return the cache folder of corpus `name`, in $SWARM_CACHE or the user's cache folder."""
    chosen = os.environ.get("SWARM_CACHE")
    cache = Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("swarm")
    return cache.absolute() / "data" / name


@contextmanager
def locked(folder: Path, progress: Progress) -> Iterator[None]:
    """Hold `folder` exclusively among all processes; the kernel frees it when the holder dies."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(str(folder / ".lock"), fallback_to_soft=False)  # which none would free
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress("wait for another prepare", 0.0)
        lock.acquire()
    except (OSError, NotImplementedError) as error:  # of ENOSYS filelock makes the latter
        reason = error.strerror if isinstance(error, OSError) else "Function not implemented"
        raise SetupError(
            f"{lock.lock_file}: this file system refuses locks ({reason}): set SWARM_CACHE to a"
            " folder on a local disk"
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Raise SetupError for a full or unwritable disk; pass on any other OSError as a bug."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            fix = "free some space there or set SWARM_CACHE to a larger disk"
        elif error.errno in _NO_ACCESS:
            fix = "make it readable and writable for you or set SWARM_CACHE to a folder that is"
        else:
            raise
        raise SetupError(
            f"cannot use {error.filename or folder} ({error.strerror}): {fix}"
        ) from error


def sha256_of(path: Path) -> str:
    """Return the sha256 of the file at `path`, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
