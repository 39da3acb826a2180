"""The ledger: everything that happened in a run, one event a line, only ever added to.

`ledger.jsonl` is the truth and every other picture of a run is its fold. One process writes it,
guarded by an flock on the file `lock` beside it; any number of others read it, and take no lock.
An event counts once its whole line is in the file, newline included, and `append` returns only
when it is on the disk. A writer that was killed leaves at most one torn line, the last: readers
leave it out, and the next writer cuts it off (or ends it, where only the newline is missing).

Not covered:
- a line that is changed after it was written: a change that is still an event goes unnoticed;
- a child forked from the coordinator without exec keeps the lock after the coordinator's death;
- network file systems on which flock or fsync do nothing, and drives that lie about their cache
  (macOS lets os.fsync return before the drive has written);
- a reader that is under way at the very moment a new writer cuts off a torn line may report that
  line as no event; asked again it does not.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import psutil
from pydantic import ValidationError

from harness.contract import SetupError
from islands.events import Event, decode, encode

NAME = "ledger.jsonl"
LOCK = "lock"

E = TypeVar("E", bound=Event)

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_BLOCK = 65_536
_DRIFT = 60.0
"""Seconds by which a process's time of birth and a file's time of writing may disagree."""


class Ledger:
    """A run's ledger, open for adding to. Made by `Ledger.open`."""

    def __init__(self, path: Path, file: io.FileIO, clock: Callable[[], float]) -> None:
        self._path, self._file, self._clock = path, file, clock
        with _room(path):
            self._size = _mend(file)

    @classmethod
    @contextmanager
    def open(cls, folder: Path, clock: Callable[[], float]) -> Iterator[Ledger]:
        """Open the ledger in the run folder `folder`, made if there is none; the only writer.

        `clock` gives seconds since the epoch. Raises SetupError where another process writes.
        """
        path = folder / NAME
        with _held(folder / LOCK):
            new = not path.exists()
            with io.FileIO(path, "a+") as file:
                if new:
                    _settle(folder)
                yield cls(path, file, clock)

    def append(self, event: E) -> E:
        """Add `event`, stamped with the time in `recorded`, and return it so.

        When this returns the event is on the disk. Raises SetupError where the disk is full, and
        ValueError where the event would not read back as itself (a NaN, half a surrogate pair);
        in both cases the ledger is as it was.
        """
        return self.extend([event])[0]

    def extend(self, events: Iterable[E]) -> list[E]:
        """Add several events as one write and one fsync, and return them stamped.

        Raises as `append`, adding none. A kill in mid-write may leave the first few.
        """
        stamped = [replace(event, recorded=self._now()) for event in events]
        self._write(b"".join(map(_line, stamped)))
        return stamped

    def events(self) -> Iterator[Event]:
        """Yield all events from the first on. Raises SetupError at a line that is none."""
        return (event for _, event in read_events(self._path))

    def _now(self) -> float:
        return round(self._clock(), 6)  # whole microseconds, as DuckDB's TIMESTAMP keeps them

    def _write(self, data: bytes) -> None:
        with _room(self._path):
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[self._file.write(rest) :]
                os.fsync(self._file.fileno())
                self._size += len(data)
            except BaseException:  # an interrupt, too, leaves no torn line behind it
                self._file.truncate(self._size)
                raise


def read_events(path: Path, offset: int = 0) -> Iterator[tuple[int, Event]]:
    """Yield the events of the ledger `path` from byte `offset` on, each with the next offset.

    `offset` is 0 or one that was yielded before. Takes no lock and may be used while the ledger
    grows. A torn last line is left out. Raises SetupError, naming the line, at one that is no
    event, and where there is no ledger.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise SetupError(f"{path}: no such ledger; `swarm launch` begins one") from None
    with file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            event = _event(path, offset, line)
            offset += len(line)
            yield offset, event


def writer(folder: Path) -> int | None:
    """Return the pid of the process that writes the run in `folder`, None where none does.

    The lock itself is not tried: a reader that held it for an instant would turn a coordinator
    away. A pid that a younger process has taken since does not count.
    """
    lock = folder / LOCK
    try:
        pid = int(lock.read_text() or 0)
        born = psutil.Process(pid).create_time()
        locked = lock.stat().st_mtime
    except (FileNotFoundError, ValueError, psutil.Error):
        return None
    return pid if pid and born < locked + _DRIFT else None


def _line(event: Event) -> bytes:
    """Return the line that keeps `event`, checked: what cannot be read back must not go in."""
    line = encode(event)
    if decode(line) != event:
        raise ValueError(f"does not read back as itself: {event!r}")
    return line + b"\n"


def _event(path: Path, offset: int, line: bytes) -> Event:
    try:
        return decode(line)
    except ValidationError as error:
        with path.open("rb") as file:
            number = file.read(offset).count(b"\n") + 1
        wrong = error.errors(include_url=False)[0]["msg"]
        raise SetupError(
            f"{path}:{number}: no event that this version of swarm knows ({wrong}); put the file"
            " back from a copy, or begin a new run"
        ) from error


def _mend(file: io.FileIO) -> int:
    """Make the file end in a whole line, and return its size in bytes.

    A last line that is an event but for its newline gets it: no prefix of an event is an event.
    Anything else after the last newline was torn, and its `append` never returned.
    """
    tail = _tail(file)
    size = file.seek(0, os.SEEK_END)
    if tail and _whole(tail):
        file.write(b"\n")
    elif tail:
        file.truncate(size - len(tail))
    if tail:
        os.fsync(file.fileno())
    return file.seek(0, os.SEEK_END)


def _tail(file: io.FileIO) -> bytes:
    """Return what stands after the last newline, reading backwards."""
    start, tail = file.seek(0, os.SEEK_END), b""
    while start > 0 and b"\n" not in tail:
        step = min(_BLOCK, start)
        start -= step
        tail = os.pread(file.fileno(), step, start) + tail
    return tail.rpartition(b"\n")[2]


def _whole(tail: bytes) -> bool:
    try:
        decode(tail)
    except ValidationError:
        return False
    return True


def _settle(folder: Path) -> None:
    """Bring the folder's list of files to the disk, so that a new file in it is there to stay."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _room(path: Path) -> Iterator[None]:
    """Say how to mend it where the disk has no room for `path`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise SetupError(
            f"{path}: {error.strerror}; nothing recorded is lost: free some space, and"
            " `swarm launch` goes on from here"
        ) from error


@contextmanager
def _held(lock: Path) -> Iterator[None]:
    """Hold the lock file, with our pid in it. The file stays: only its lock says who writes."""
    with io.FileIO(lock, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = lock.read_text().strip() or "unknown"
            raise SetupError(
                f"{lock.parent}: another coordinator (pid {pid}) has this run; end it with"
                " Ctrl-C, or wait until it is done"
            ) from None
        with _room(lock):
            file.truncate(0)
            file.write(f"{os.getpid()}\n".encode())
        try:
            yield
        finally:
            file.truncate(0)
