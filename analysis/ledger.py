"""The ledger: an append-only file of a run's events, one JSON object a line.

`ledger.jsonl` is the only source of truth; state, lineage and tables are computed from it. One
process writes it, guarded by an flock on the file `lock` beside it; any number of others read it
without a lock. An event counts once its whole line is in the file, newline included, and `append`
returns only when it is on the disk. A killed writer leaves at most one torn line, the last: readers
skip it, and the next writer cuts it off (or completes it if only the newline is missing).

The lines are a hash chain (analysis/hash_chain.py): every reader reports the number of a line that
is changed, missing or out of order. The last link identifies the whole file: `swarm verify` prints
it and a merge carries it, so that this history can be distinguished from any other.

Not covered:
- a program that can rewrite the whole file can rewrite the chain, and lines cut off at its end
  leave a valid chain: only a link noted elsewhere, and git's refs, reveal it (`swarm verify`);
- ledgers of another record format (`islands.events.FORMAT`), or without links, are refused in one
  line by readers and writers;
- a child forked from the coordinator without exec keeps the lock after the coordinator's death;
- network file systems on which flock or fsync do nothing, and drives that lie about their cache
  (macOS lets os.fsync return before the drive has written);
- a reader that is under way at the very moment a new writer cuts off a torn line may report that
  line as no event; a second read does not.
"""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import psutil
from pydantic import ValidationError

from analysis import file_lock, hash_chain
from harness.contract import SetupError
from harness.durable_files import sync_folder
from islands.events import FORMAT, Event, decode, encode

NAME = "ledger.jsonl"

RUNS_HOME = ".swarm"
"""Folder of a repository that holds its runs, each in a folder with a ledger."""
LOCK = "lock"

E = TypeVar("E", bound=Event)

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_BLOCK_BYTES = 65_536
_CLOCK_TOLERANCE_S = 60.0
"""Seconds by which a process's start time and a file's modification time may disagree."""


class InUseError(SetupError):
    """Another process writes the ledger."""


class Line(NamedTuple):
    """A whole line of a ledger.

    end: offset of the byte after it
    link: its link
    event: its event
    """

    end: int
    link: str
    event: Event


class Ledger:
    """A run's ledger, open for appending. Use `Ledger.open`."""

    def __init__(self, path: Path, file: io.FileIO, clock: Callable[[], float]) -> None:
        self._path, self._file, self._clock = path, file, clock
        with _disk_space(path):
            self._size, self._link = _repair(path, file)

    @classmethod
    @contextmanager
    def open(cls, folder: Path, clock: Callable[[], float]) -> Iterator[Ledger]:
        """Open the ledger in the run folder `folder` as its only writer; create it if missing.

        `clock` gives seconds since the epoch. Raises SetupError if another process writes it, if
        the last line carries no link, and if it has another format.
        """
        path = folder / NAME
        with _lock(folder / LOCK):
            new = not path.exists()
            if not new:
                check_format(path)
            with io.FileIO(path, "a+") as file:
                if new:
                    sync_folder(folder)
                yield cls(path, file, clock)

    @property
    def link(self) -> str:
        """The last line's link, which identifies all that the ledger holds."""
        return self._link

    def append(self, event: E) -> E:
        """Append `event`, with the time in `recorded`, and return it with that time.

        When this returns, the event is on the disk. Raises SetupError if the disk is full, and
        ValueError if the event would not read back as itself (a NaN, half a surrogate pair); in
        both cases the ledger is unchanged.
        """
        return self.extend([event])[0]

    def extend(self, events: Iterable[E]) -> list[E]:
        """Append several events with one write and one fsync; return them with their times.

        Raises as `append`, adding none. A kill during the write may leave the first few.
        """
        stamped = [replace(event, recorded=self._now()) for event in events]
        lines, link = [], self._link
        for event in stamped:
            link, line = _line(link, event)
            lines.append(line)
        self._write(b"".join(lines), link)
        return stamped

    def events(self) -> Iterator[Event]:
        """Yield all events. Raises SetupError as `read_lines`."""
        return (event for _, event in read_events(self._path))

    def _now(self) -> float:
        return round(self._clock(), 6)  # whole microseconds, as DuckDB's TIMESTAMP keeps them

    def _write(self, data: bytes, link: str) -> None:
        with _disk_space(self._path):
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[self._file.write(rest) :]
                os.fsync(self._file.fileno())
                self._size, self._link = self._size + len(data), link
            except BaseException:  # an interrupt, too, leaves no torn line behind it
                self._file.truncate(self._size)
                raise
        if not os.fstat(self._file.fileno()).st_nlink:
            raise SetupError(
                f"{self._path} was removed while the run wrote to it, so the run's record is lost;"
                " its kept changes are in git (git branch --list 'swarm/*')"
            )


def read_events(path: Path, offset: int = 0) -> Iterator[tuple[int, Event]]:
    """Yield the events of the ledger `path`, each with the next offset; see `read_lines`."""
    return ((line.end, line.event) for line in read_lines(path, offset))


def read_lines(path: Path, offset: int = 0) -> Iterator[Line]:
    """Yield the lines of the ledger `path` from byte `offset` on.

    `offset` is 0 or a line's end. Takes no lock and may be used while the ledger grows. A torn
    last line is skipped. Raises SetupError, with the line's number, at the first line that was
    changed or is no event, if there is no ledger, and if it has another format.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise SetupError(f"{path}: no such ledger; `swarm launch` creates one") from None
    with file:
        _check_format(path, file.readline())
        link = hash_chain.link_before(file.fileno(), offset)
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            before, (link, body) = link, hash_chain.split(link, line[:-1])
            if not body:
                raise SetupError(hash_chain.fault(path, before, line))
            offset += len(line)
            yield Line(offset, link, _event(path, link, body))


def run_folders(repo: Path) -> list[Path]:
    """Return the folders of the runs in `repo`, most recently active first.

    A folder without a first event is no run: a launch was killed before it began.
    """
    found = (repo / RUNS_HOME).glob(f"*/{NAME}")
    ledgers = [(path.stat().st_mtime, path) for path in found if _has_begun(path)]
    return [path.parent for _, path in sorted(ledgers)[::-1]]


def _has_begun(path: Path) -> bool:
    with path.open("rb") as file:
        return file.readline().endswith(b"\n")


def check_format(path: Path) -> None:
    """Raise SetupError if another version of swarm wrote the ledger `path` in another format."""
    with path.open("rb") as file:
        _check_format(path, file.readline())


def _check_format(path: Path, line: bytes) -> None:
    """Check the format in a ledger's first line; a line that is no opened run is not checked."""
    try:
        first = json.loads(line)
    except ValueError:  # changed or torn: the reader of the line reports it
        return
    if not isinstance(first, dict) or first.get("kind") != "run_opened":
        return
    version = first.get("format", 1)
    if version != FORMAT:
        age = "an older" if isinstance(version, int) and version < FORMAT else "a newer"
        raise SetupError(
            f"{path}:1: {age} swarm wrote this run in record format {version}; this one reads"
            f" format {FORMAT}: use the version that wrote it, or start a new run with --new"
        )


def link_at(path: Path, offset: int) -> str:
    """Return the link of the line that ends at byte `offset` of the ledger `path`, "" for none."""
    try:
        with path.open("rb") as file:
            return hash_chain.link_before(file.fileno(), offset)
    except FileNotFoundError:
        return ""


def writer(folder: Path) -> int | None:
    """Return the pid of the process that writes the run in `folder`, None if none does.

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
    return pid if pid and born < locked + _CLOCK_TOLERANCE_S else None


def _line(before: str, event: Event) -> tuple[str, bytes]:
    """Return the link and the line of `event` after the link `before`.

    Raises ValueError if the line would not read back as `event`.
    """
    body = encode(event)
    if decode(body) != event:
        raise ValueError(f"does not read back as itself: {event!r}")
    link, line = hash_chain.chain(before, body)
    return link, line + b"\n"


def _event(path: Path, link: str, body: bytes) -> Event:
    try:
        return decode(body)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]["msg"]
        raise SetupError(
            f"{path}:{hash_chain.number(link)}: not an event of this version of swarm ({wrong});"
            " use the version that wrote it, or start a new run with --new"
        ) from error


def _repair(path: Path, file: io.FileIO) -> tuple[int, str]:
    """Make the file end in a whole line; return its size in bytes and the last link.

    A last line that is whole but for its newline gets it: no prefix of a line is a whole line.
    Anything else after the last newline was torn, and its `append` never returned.
    """
    tail = _tail(file)
    whole = file.seek(0, os.SEEK_END) - len(tail)
    before = hash_chain.link_before(file.fileno(), whole)
    if not before:
        raise SetupError(f"{path}: {hash_chain.UNCHAINED}")
    if tail and hash_chain.split(before, tail)[1]:
        file.write(b"\n")
    elif tail:
        file.truncate(whole)
    if tail:
        os.fsync(file.fileno())
    size = file.seek(0, os.SEEK_END)
    return size, hash_chain.link_before(file.fileno(), size)


def _tail(file: io.FileIO) -> bytes:
    """Return the bytes after the last newline, reading backwards."""
    start, tail = file.seek(0, os.SEEK_END), b""
    while start > 0 and b"\n" not in tail:
        step = min(_BLOCK_BYTES, start)
        start -= step
        tail = os.pread(file.fileno(), step, start) + tail
    return tail.rpartition(b"\n")[2]


@contextmanager
def _disk_space(path: Path) -> Iterator[None]:
    """Turn 'disk full' while writing `path` into a SetupError that names the fix."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise SetupError(
            f"{path}: {error.strerror}; nothing recorded is lost: free some space, then"
            " resume with `swarm launch`"
        ) from error


@contextmanager
def _lock(lock: Path) -> Iterator[None]:
    """Hold the lock file, with our pid in it. The file stays: only its lock says who writes."""
    with io.FileIO(lock, "a+") as file:
        try:
            file_lock.lock(file, lock, wait=False)
        except BlockingIOError:
            pid = lock.read_text().strip() or "unknown"
            raise InUseError(
                f"{lock.parent}: another coordinator (pid {pid}) has this run; end it with"
                " Ctrl-C, or wait until it is done"
            ) from None
        with _disk_space(lock):
            file.truncate(0)
            file.write(f"{os.getpid()}\n".encode())
        try:
            yield
        finally:
            file.truncate(0)
