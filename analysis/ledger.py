"""The ledger: everything that happened in a run, one event a line, only ever added to.

`ledger.jsonl` is the truth and every other picture of a run is its fold. One process writes it,
guarded by an flock on the file `lock` beside it; any number of others read it, and take no lock.
An event counts once its whole line is in the file, newline included, and `append` returns only
when it is on the disk. A writer that was killed leaves at most one torn line, the last: readers
leave it out, and the next writer cuts it off (or ends it, where only the newline is missing).

The lines are a chain. The last member of each is its link: its number, and a hash of the event's
bytes and the link before. A line that is changed, missing or out of order breaks the chain there,
and every reader says so with the line's number. The last link stands for the whole file: noted
elsewhere (`swarm verify` prints it, a merge carries it), it tells this history from any other.

Not covered:
- whoever can rewrite the whole file can rewrite the chain, and lines cut off at its end leave a
  chain that holds: only a link that was noted elsewhere, and git's refs, tell (`swarm verify`);
- ledgers of another record format (`islands.events.FORMAT`), or without links, are refused in one
  line by readers and writers;
- a child forked from the coordinator without exec keeps the lock after the coordinator's death;
- network file systems on which flock or fsync do nothing, and drives that lie about their cache
  (macOS lets os.fsync return before the drive has written);
- a reader that is under way at the very moment a new writer cuts off a torn line may report that
  line as no event; asked again it does not.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import psutil
from pydantic import ValidationError

from harness.contract import SetupError
from islands.events import FORMAT, Event, decode, encode

NAME = "ledger.jsonl"
LOCK = "lock"

START = "0:" + "0" * 32
"""The link before the first line. 128 bits: what agents write is in the events, and of 64 bits
they could find two events with one link."""

E = TypeVar("E", bound=Event)

_MEMBER = b',"link":"'
_LINK = re.compile(_MEMBER + rb'((\d{1,15}):[0-9a-f]{32})"}\Z')
_LONGEST = 64
"""Bytes that hold any link with its name and quotes."""

_MEND = "put the file back from a copy, or begin a new run"
_UNCHAINED = f"carries no link: changed, or from before swarm chained its ledgers; {_MEND}"

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_BLOCK = 65_536
_DRIFT = 60.0
"""Seconds by which a process's time of birth and a file's time of writing may disagree."""


class Line(NamedTuple):
    """A whole line: the byte after it, its link, its event."""

    end: int
    link: str
    event: Event


class Ledger:
    """A run's ledger, open for adding to. Made by `Ledger.open`."""

    def __init__(self, path: Path, file: io.FileIO, clock: Callable[[], float]) -> None:
        self._path, self._file, self._clock = path, file, clock
        with _room(path):
            self._size, self._link = _mend(path, file)

    @classmethod
    @contextmanager
    def open(cls, folder: Path, clock: Callable[[], float]) -> Iterator[Ledger]:
        """Open the ledger in the run folder `folder`, made if there is none; the only writer.

        `clock` gives seconds since the epoch. Raises SetupError where another process writes,
        where the last line carries no link, and where the ledger is of another format.
        """
        path = folder / NAME
        with _held(folder / LOCK):
            new = not path.exists()
            if not new:
                check_format(path)
            with io.FileIO(path, "a+") as file:
                if new:
                    _settle(folder)
                yield cls(path, file, clock)

    @property
    def link(self) -> str:
        """Return the last line's link, which stands for everything that the ledger holds."""
        return self._link

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
        lines, link = [], self._link
        for event in stamped:
            link, line = _line(link, event)
            lines.append(line)
        self._write(b"".join(lines), link)
        return stamped

    def events(self) -> Iterator[Event]:
        """Yield all events from the first on. Raises SetupError as `read_lines`."""
        return (event for _, event in read_events(self._path))

    def _now(self) -> float:
        return round(self._clock(), 6)  # whole microseconds, as DuckDB's TIMESTAMP keeps them

    def _write(self, data: bytes, link: str) -> None:
        with _room(self._path):
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[self._file.write(rest) :]
                os.fsync(self._file.fileno())
                self._size, self._link = self._size + len(data), link
            except BaseException:  # an interrupt, too, leaves no torn line behind it
                self._file.truncate(self._size)
                raise


def read_events(path: Path, offset: int = 0) -> Iterator[tuple[int, Event]]:
    """Yield the events of the ledger `path`, each with the next offset; see `read_lines`."""
    return ((line.end, line.event) for line in read_lines(path, offset))


def read_lines(path: Path, offset: int = 0) -> Iterator[Line]:
    """Yield the lines of the ledger `path` from byte `offset` on.

    `offset` is 0 or a line's end. Takes no lock and may be used while the ledger grows. A torn
    last line is left out. Raises SetupError, naming the line, at the first that is not as it was
    written or is no event, where there is no ledger, and where it is of another format.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise SetupError(f"{path}: no such ledger; `swarm launch` begins one") from None
    with file:
        _check_format(path, file.readline())
        link = _link_at(file.fileno(), offset)
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            before, (link, body) = link, _split(link, line[:-1])
            if not body:
                raise SetupError(_broken(path, before, line))
            offset += len(line)
            yield Line(offset, link, _event(path, link, body))


def check_format(path: Path) -> None:
    """Raise SetupError if another version of swarm wrote the ledger `path` in another format."""
    with path.open("rb") as file:
        _check_format(path, file.readline())


def _check_format(path: Path, line: bytes) -> None:
    """Check the format in a ledger's first line; a line that is no opened run is not checked."""
    try:
        first = json.loads(line)
    except ValueError:  # changed or torn: the reader of the line says so
        return
    if not isinstance(first, dict) or first.get("kind") != "run_opened":
        return
    version = first.get("format", 1)
    if version != FORMAT:
        age = "an older" if isinstance(version, int) and version < FORMAT else "a newer"
        raise SetupError(
            f"{path}: {age} swarm wrote this run in record format {version}, and this one reads"
            f" format {FORMAT}: use the version that wrote it, or start a new run with --new"
        )


def link_at(path: Path, offset: int) -> str:
    """Return the link of the line that ends at byte `offset` of the ledger `path`, "" for none."""
    try:
        with path.open("rb") as file:
            return _link_at(file.fileno(), offset)
    except FileNotFoundError:
        return ""


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


def _line(before: str, event: Event) -> tuple[str, bytes]:
    """Return the link and the line that keep `event` after the link `before`.

    What cannot be read back must not go in.
    """
    body = encode(event)
    if decode(body) != event:
        raise ValueError(f"does not read back as itself: {event!r}")
    link = _chained(before, body)
    return link, _joined(body, link) + b"\n"


def _chained(before: str, body: bytes) -> str:
    """Return the link of the event whose bytes are `body`, where the link before is `before`."""
    return f"{_number(before) + 1}:{_hash(before, body).decode()}"


def _hash(before: str, body: bytes) -> bytes:
    return hashlib.sha256(before.encode() + body).hexdigest()[:32].encode()


def _body(line: bytes) -> bytes:
    """Return the bytes of a line's event: what it was before its link was put in."""
    return line.rpartition(_MEMBER)[0] + b"}"


def _split(before: str, line: bytes) -> tuple[str, bytes]:
    """Return a line's link and its event's bytes; both empty where it does not follow `before`."""
    body = _body(line)
    link = _chained(before, body) if before else ""
    return (link, body) if line == _joined(body, link) else ("", b"")


def _joined(body: bytes, link: str) -> bytes:
    return body[:-1] + _MEMBER + link.encode() + b'"}'


def _number(link: str) -> int:
    return int(link.partition(":")[0])


def _link_at(number: int, offset: int) -> str:
    """Return the link that ends at byte `offset` of a file by its descriptor, "" for none."""
    if offset == 0:
        return START
    found = _LINK.search(os.pread(number, min(offset, _LONGEST), max(0, offset - _LONGEST))[:-1])
    return found[1].decode() if found else ""


def _event(path: Path, link: str, body: bytes) -> Event:
    try:
        return decode(body)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]["msg"]
        raise SetupError(
            f"{path}:{_number(link)}: no event that this version of swarm knows ({wrong}); go on"
            " with the version that wrote it, or begin a new run"
        ) from error


def _broken(path: Path, before: str, line: bytes) -> str:
    """Say what is wrong with a line that does not follow the link `before`."""
    if not before:
        return f"{path}: has other lines than it had a moment ago; {_MEND}"
    due, found = _number(before) + 1, _LINK.search(line[:-1])
    if found is None:
        return f"{path}:{due}: {_UNCHAINED}"
    there = int(found[2])
    if there == due or found[1].endswith(_hash(before, _body(line))):
        wrong = "was changed after it was written"
    elif there < due or due in _numbers(path):
        wrong = f"is out of order, it was written as line {there}"
    else:
        wrong = f"lines {due} to {there - 1} are missing before it"
    return f"{path}:{due}: {wrong}; {_MEND}"


def _numbers(path: Path) -> set[int]:
    """Return the numbers that the lines of a ledger say they have."""
    with path.open("rb") as file:
        return {int(found[2]) for line in file if (found := _LINK.search(line[:-1]))}


def _mend(path: Path, file: io.FileIO) -> tuple[int, str]:
    """Make the file end in a whole line; return its size in bytes and the last link.

    A last line that is whole but for its newline gets it: no prefix of a line is a whole line.
    Anything else after the last newline was torn, and its `append` never returned.
    """
    tail = _tail(file)
    whole = file.seek(0, os.SEEK_END) - len(tail)
    before = _link_at(file.fileno(), whole)
    if not before:
        raise SetupError(f"{path}: {_UNCHAINED}")
    if tail and _split(before, tail)[1]:
        file.write(b"\n")
    elif tail:
        file.truncate(whole)
    if tail:
        os.fsync(file.fileno())
    size = file.seek(0, os.SEEK_END)
    return size, _link_at(file.fileno(), size)


def _tail(file: io.FileIO) -> bytes:
    """Return what stands after the last newline, reading backwards."""
    start, tail = file.seek(0, os.SEEK_END), b""
    while start > 0 and b"\n" not in tail:
        step = min(_BLOCK, start)
        start -= step
        tail = os.pread(file.fileno(), step, start) + tail
    return tail.rpartition(b"\n")[2]


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
        except OSError as error:
            raise SetupError(
                f"{lock}: this file system refuses locks ({error.strerror}): put the repository on"
                " a local disk"
            ) from error
        with _room(lock):
            file.truncate(0)
            file.write(f"{os.getpid()}\n".encode())
        try:
            yield
        finally:
            file.truncate(0)
