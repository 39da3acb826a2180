"""Where corpora are kept, and writing there so that a crash at any moment leaves old or new."""

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
"""`progress(step, share)`: what is being done and how much of that step is done, from 0 to 1."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SHUT = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}


def corpus_root(name: str) -> Path:
    """Return the folder of everything cached for corpus `name`: $SWARM_CACHE, else the user's."""
    chosen = os.environ.get("SWARM_CACHE")
    cache = Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("swarm")
    return cache.absolute() / "data" / name


@contextmanager
def locked(folder: Path, progress: Progress) -> Iterator[None]:
    """Hold `folder` exclusively among all processes; the kernel frees it when the holder dies."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(str(folder / ".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress("wait for another prepare", 0.0)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def disk_troubles(folder: Path) -> Iterator[None]:
    """Turn a full or closed disk into SetupError; any other OSError is our fault and goes on."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            mend = "free some space there or set SWARM_CACHE to a larger disk"
        elif error.errno in _SHUT:
            mend = "make it yours to read and write or set SWARM_CACHE to a folder that is"
        else:
            raise
        raise SetupError(
            f"cannot use {error.filename or folder} ({error.strerror}): {mend}"
        ) from error


def write_whole(path: Path, data: bytes) -> None:
    """Put `data` at `path`, all of it or nothing, and on the disk before this returns."""
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: Path) -> str:
    """Return the sha256 of the file at `path`, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
