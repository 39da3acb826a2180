"""Records of a repository's runs, held open for the page.

Bringing `lineage.duckdb` up to date costs a copy of the file, and the machine's cores are the
trials'. So all readers of the page share one open record a run, it is opened again only after the
ledger has grown, and not before PAUSE times as long has passed as that took the last time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from analysis.ledger import NAME, run_folders
from analysis.run import RecordedRun
from harness.contract import SetupError

PAUSE: Final = 5.0
"""Seconds between two openings of a record for each second that one takes."""

LEAST_PAUSE_S: Final = 0.5


@dataclass(slots=True)
class _Held:
    """A run's open record: how long its ledger was, when it was opened and how long that took."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    run: RecordedRun | None = None
    bytes: int = -1
    opened: float = 0.0
    took: float = 0.0


class Records:
    """The runs of the repository at `repo`; may be used from several threads."""

    def __init__(self, repo: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.repo = repo
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}

    def names(self) -> list[str]:
        """Return the runs' names, most recently active first."""
        return [folder.name for folder in run_folders(self.repo)]

    def folder(self, name: str) -> Path:
        """Return a run's folder. Raises SetupError where there is no such run."""
        for folder in run_folders(self.repo):
            if folder.name == name:
                return folder
        raise SetupError(f"no run {name!r} in {self.repo}")

    @contextmanager
    def open(self, name: str, *, newest: bool = False) -> Iterator[RecordedRun]:
        """Lend the record of the run `name` to one reader; `newest`: whatever that costs.

        Raises SetupError where there is no such run, or its record is broken.
        """
        folder = self.folder(name)
        with self._lock:
            held = self._held.setdefault(name, _Held())
        with held.lock:
            yield self._current(held, folder, newest=newest)

    def close(self) -> None:
        """Close all records."""
        for held in self._held.values():
            with held.lock:
                _close(held)

    def _current(self, held: _Held, folder: Path, *, newest: bool) -> RecordedRun:
        size, now = (folder / NAME).stat().st_size, self._clock()
        due = newest or now >= held.opened + max(LEAST_PAUSE_S, PAUSE * held.took)
        if held.run is None or (size != held.bytes and due):
            _close(held)
            held.run = RecordedRun(folder)
            held.bytes, held.opened = size, self._clock()
            held.took = held.opened - now
        return held.run


def _close(held: _Held) -> None:
    if held.run is not None:
        held.run.close()
        held.run = None
