"""Refreshing `lineage.duckdb`, the ledger as SQL tables, without locking readers.

The file can be rebuilt from the ledger and may be deleted at any time. `refresh` updates a private
copy from the byte of the ledger where it ended, and moves it into place with `os.replace`. So a
file that is being read is never written: a reader keeps the file that it opened and blocks no
other process. Several processes may refresh at once; the file never goes back to an earlier state.
A refresh costs one copy of the file plus the new events, however long the run is. A file that is
broken, or was made by other code or from another ledger, is rebuilt.

Not covered:
- rows that another program writes to `lineage.duckdb` stay until the file is deleted (open it
  read-only, or use `swarm query`);
- a refresh that is stopped (SIGSTOP, Ctrl-Z) in the about 25 ms between comparing and replacing
  blocks other refreshes until it continues; the ledger's writer never waits for them;
- users who may read a run's folder but not write to it cannot refresh.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import astuple, dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import duckdb
from duckdb import DuckDBPyConnection

from analysis import ledger
from analysis.database.projection import schema
from analysis.database.projection.tables import TABLES
from analysis.file_lock import lock
from analysis.hash_chain import START
from analysis.ledger import link_at, read_events, read_lines
from harness.contract import SetupError
from islands.events import Event

NAME = "lineage.duckdb"

_BATCH = 20_000
"""Events written to the tables at a time; bounds the memory of a refresh."""

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,  # the machine's cores are the trials'
    "memory_limit": "1GB",
    "temp_directory": "",  # else a big query spills into the user's working directory
    "python_enable_replacements": False,  # else a table's name may mean a variable of ours
}

_PACKAGES = Path(__file__).parents[2]

_MAKERS = (
    "islands/events/*.py",
    "analysis/database/projection/*.py",
    "analysis/lineage.py",
    "analysis/node_scores.py",
)
"""The code that decides what the file holds."""

_USER_FIXABLE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


def due(events_now: int, events_at_last: int, *, share: float = 0.05, least: int = 500) -> bool:
    """Return whether the coordinator should refresh: the ledger has grown by a share of itself.

    What it has not taken in yet, the next reader waits for: 50 µs an event, at a `share` of 0.05
    at most 2 s in a run of 100,000 experiments. A refresh writes the whole file, so all of them
    together write 21 times what the last one does. `least` events keep a young run from
    refreshing at each.
    """
    return events_now - events_at_last >= max(least, share * events_at_last)


class Refresher:
    """Tells the coordinator when to refresh, by `due`."""

    def __init__(self) -> None:
        self._last = 0

    def due(self, events: int) -> bool:
        """Return whether to refresh now that the ledger has `events`; if so, it counts as done."""
        if not due(events, self._last):
            return False
        self._last = events
        return True


@dataclass(frozen=True, slots=True)
class _Mark:
    """How much of the ledger a file holds, and what made it (columns of table `projection`)."""

    bytes: int
    events: int
    code: str
    link: str


@contextmanager
def reading(folder: Path) -> Iterator[DuckDBPyConnection]:
    """Open the record of the run in `folder`, up to date and read-only.

    The connection sees one moment of the run, reaches no other file, and has one thread and
    1 GB. Raises SetupError as `refresh`.
    """
    with ExitStack() as stack:
        con = _if_current(folder, stack)
        if con is None:
            con = stack.enter_context(_attached(refresh(folder), "READ_ONLY"))
        con.execute("SET enable_external_access = false")
        con.execute("SET lock_configuration = true")
        yield con


def _if_current(folder: Path, stack: ExitStack) -> DuckDBPyConnection | None:
    """Open the record on `stack` if it holds all of the ledger, as it mostly does; else None."""
    final, source = folder / NAME, folder / ledger.NAME
    with suppress(OSError, duckdb.Error, SetupError), ExitStack() as own:  # `refresh` says why
        if final.exists() and not _log(final).exists():
            con = own.enter_context(_attached(final, "READ_ONLY"))
            mark = _mark_in(con, source)
            if mark is not None and not _has_more(source, mark):
                stack.push(own.pop_all())
                return con
    return None


def refresh(folder: Path) -> Path:
    """Bring `lineage.duckdb` in the run folder `folder` up to date; return its path.

    May be called by any process at any time. Raises SetupError where there is no ledger, where a
    line of it is no event, and where the folder cannot be written to.
    """
    final, source = folder / NAME, folder / ledger.NAME
    try:
        mark = _mark(final, source)
        if mark is None or _has_more(source, mark):
            _renew(final, source)
    except (OSError, duckdb.IOException) as error:
        if isinstance(error, OSError) and error.errno not in _USER_FIXABLE:
            raise
        raise SetupError(f"{final}: cannot be brought up to date: {error}") from error
    return final


def strays(folder: Path) -> str:
    """Return how `lineage.duckdb` in `folder` differs from its ledger, "" if it does not.

    Rebuilds the tables in memory from the events that the file says it holds, and compares rows and
    views; changes nothing. A missing file, or one of another version of swarm, does not differ: it
    is rebuilt when it is next needed. Raises SetupError as `refresh`.
    """
    path, source = folder / NAME, folder / ledger.NAME
    if not path.exists():
        return ""
    try:
        with _attached(path, "READ_ONLY") as con:
            if con.execute("SELECT code FROM projection").fetchone() != (_code(),):
                return ""
            mark = _Mark(*con.execute("FROM projection").fetchall()[0])
            if mark.link != link_at(source, mark.bytes):
                return f"{path} was made of another ledger"
            con.execute("USE memory")
            _take(con, source, mark)
            odd = list(_differing(con))
    except duckdb.Error as error:
        return f"{path} is no record of a run: {str(error).partition(chr(10))[0]}"
    return f"{path} does not hold what the ledger says in {', '.join(odd)}" if odd else ""


def _take(con: DuckDBPyConnection, source: Path, mark: _Mark) -> None:
    """Take the first `mark.events` events of a ledger into an empty database."""
    schema.create(con)
    history = islice(read_lines(source), mark.events)
    while batch := list(islice(history, _BATCH)):
        _project(con, [line.event for line in batch])


def _project(con: DuckDBPyConnection, history: Sequence[Event]) -> None:
    """Add the next events of the ledger to the tables of `con`."""
    # a third of a second, and most readers find the record up to date
    from analysis.database.projection.project import project  # noqa: PLC0415

    project(con, history)


def _differing(con: DuckDBPyConnection) -> Iterator[str]:
    """Yield the tables and views of which `lineage` has another content than `memory`."""
    views = "SELECT view_name, sql FROM duckdb_views() WHERE database_name = '{}' AND NOT internal"
    for name in TABLES:
        if name != "projection" and _differ(con, f"FROM memory.{name}", f"FROM lineage.{name}"):
            yield name
    if _differ(con, views.format("memory"), views.format("lineage")):
        yield "views"


def _differ(con: DuckDBPyConnection, one: str, other: str) -> bool:
    pairs = (one, other), (other, one)
    return any(con.execute(f"({a}) EXCEPT ALL ({b}) LIMIT 1").fetchone() for a, b in pairs)


def _renew(final: Path, source: Path) -> None:
    with _work_folder(final.parent) as folder:
        mine = _brought_up(folder / NAME, final, source)
        with _refresh_lock(final.parent):
            current = _mark(final, source)
            if current is None or current.bytes < mine.bytes:
                (folder / NAME).replace(final)
                _log(final).unlink(missing_ok=True)


def _brought_up(private: Path, final: Path, source: Path) -> _Mark:
    """Make `private` a projection of the whole ledger `source`, from a copy of `final`."""
    with suppress(FileNotFoundError):
        shutil.copyfile(final, private)
    mark = _mark(private, source)
    if mark is None:
        private.unlink(missing_ok=True)
    with _attached(private, "BLOCK_SIZE 16384") as con:  # an empty file of 262144s has 4 MB
        con.begin()  # else each statement waits for the disk
        if mark is None:
            schema.create(con)
        mark = mark or _Mark(0, 0, _code(), START)
        history = read_lines(source, mark.bytes)
        while batch := list(islice(history, _BATCH)):
            _project(con, [line.event for line in batch])
            mark = _Mark(batch[-1].end, mark.events + len(batch), mark.code, batch[-1].link)
            con.commit()
            con.begin()
        con.execute("DELETE FROM projection")
        con.execute("INSERT INTO projection VALUES (?, ?, ?, ?)", astuple(mark))
        con.commit()
        con.execute("CHECKPOINT lineage")  # a write-ahead log beside the file would stay behind
    return mark


def _mark(path: Path, source: Path) -> _Mark | None:
    """Return how much of the ledger the file `path` holds, None if it must be rebuilt."""
    if not path.exists() or _log(path).exists():
        return None
    try:
        with _attached(path, "READ_ONLY") as con:
            return _mark_in(con, source)
    except duckdb.Error:  # no database, of another format, half written or lent to a writer
        return None


def _mark_in(con: DuckDBPyConnection, source: Path) -> _Mark | None:
    """Return how much of the ledger an open file holds, None if it must be rebuilt."""
    row = con.execute("FROM projection").fetchone()
    mark = None if row is None else _Mark(*row)
    if mark is None or mark.code != _code() or mark.link != link_at(source, mark.bytes):
        return None
    return mark


def _has_more(source: Path, mark: _Mark) -> bool:
    """Return whether the ledger goes on after `mark`."""
    return any(islice(read_events(source, mark.bytes), 1))


def _log(path: Path) -> Path:
    """Return the write-ahead log of a database, which none of ours has: somebody else wrote there.

    DuckDB refuses a file whose log belongs to the file that was there before.
    """
    return path.with_name(f"{path.name}.wal")


@cache
def _code() -> str:
    """Return the digest of the code that decides what the file holds."""
    digest = hashlib.sha256(duckdb.__version__.encode())
    for pattern in _MAKERS:
        for path in sorted(_PACKAGES.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()


@contextmanager
def _attached(path: Path, mode: str) -> Iterator[DuckDBPyConnection]:
    """Open the database `path` by attaching it to a connection of its own.

    `duckdb.connect(path)` hands out the instance that the process already has of that path,
    which after a replacement is the old file.
    """
    with duckdb.connect(":memory:", config=_CONFIG) as con:
        con.execute("SET enable_progress_bar = false")  # it would go between what is exported
        con.execute(f"ATTACH {schema.quoted(str(path))} AS lineage ({mode})")
        con.execute("USE lineage")
        yield con


@contextmanager
def _work_folder(folder: Path) -> Iterator[Path]:
    """Lend a folder below `folder` to one refresh; those of refreshes that died are removed.

    Each is held by an flock on it, which ends with its holder whatever happens.
    """
    with _refresh_lock(folder):
        for stale in folder.glob("refresh-*"):
            _remove_if_unused(stale)
        work = Path(tempfile.mkdtemp(prefix="refresh-", dir=folder))
        held = os.open(work, os.O_RDONLY)
        lock(held, work, wait=True)
    try:
        yield work
    finally:
        shutil.rmtree(work)
        os.close(held)


def _remove_if_unused(work: Path) -> None:
    try:
        held = os.open(work, os.O_RDONLY)
    except FileNotFoundError:  # its refresh has just ended
        return
    try:
        lock(held, work, wait=False)
    except BlockingIOError:
        pass  # its refresh is under way
    else:
        shutil.rmtree(work, ignore_errors=True)
    finally:
        os.close(held)


@contextmanager
def _refresh_lock(folder: Path) -> Iterator[None]:
    """Lock out other refreshes for a moment; never held while one works."""
    with (folder / "refresh.lock").open("a") as file:
        lock(file, file.name, wait=True)
        yield
