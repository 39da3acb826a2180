"""Records of a repository's runs, held open for the page.

Bringing `lineage.duckdb` up to date costs a copy of the file, and the machine's cores are the
trials'. So all readers of the page share one open record a run, and what was made of it. It is
opened again only after the ledger has grown, and so seldom that it takes SHARE of the machine: with
two cores and a small run every eight seconds, with eight every two. Who was told of a longer ledger
than an answer is from asks again; who was told of a kept change does not wait.

Not covered: a record that has to be built anew (after an update of swarm, or a deleted file) keeps
its run's pages waiting: half a minute of processor time for 100,000 experiments.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from analysis.ledger import NAME, run_folders, writer
from analysis.run import RecordedRun
from harness.contract import SetupError

SHARE: Final = 0.02
"""Share of the machine's processor time that keeping a record up to date may take."""

LEAST_PAUSE_S: Final = 0.5

MAX_ANSWERS: Final = 100
"""Answers that are kept of one record."""

_ALLOWED: Final = SHARE * len(os.sched_getaffinity(0))

T = TypeVar("T")


@dataclass(slots=True)
class _Held:
    """A run's open record.

    bytes: how long its ledger was
    opened: when it was opened
    cost: processor seconds that this took, and what was made of it since; the first opening, which
      may have to build the record, is not counted
    answers: what was made of this record, by what was asked
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    run: RecordedRun | None = None
    bytes: int = -1
    opened: float = 0.0
    cost: float = 0.0
    answers: dict[Hashable, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """What was made of a record, and the bytes of the ledger that the record holds."""

    value: T
    bytes: int


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

    def answer(
        self,
        name: str,
        key: Hashable,
        make: Callable[[RecordedRun], T],
        *,
        least: int | None = None,
        haste: bool = False,
    ) -> Answered[T]:
        """Return what `make` makes of the record of the run `name`, once for all who ask for `key`.

        least: bytes of the ledger that will do, None for all
        haste: not to wait until an opening is due

        Raises SetupError where there is no such run, or its record is broken.
        """
        folder = self.folder(name)
        with self._lock:
            held = self._held.setdefault(name, _Held())
        with held.lock:
            run = self._current(held, folder, least, haste=haste)
            key = (key, writer(folder))  # pages say whether a coordinator is at work
            if key not in held.answers:
                if len(held.answers) >= MAX_ANSWERS:
                    held.answers.clear()
                began = time.thread_time()
                held.answers[key] = make(run)
                held.cost += time.thread_time() - began
            return Answered(held.answers[key], held.bytes)

    def close(self) -> None:
        """Close all records."""
        for held in self._held.values():
            with held.lock:
                _close(held)

    def _current(self, held: _Held, folder: Path, least: int | None, *, haste: bool) -> RecordedRun:
        size, now = (folder / NAME).stat().st_size, self._clock()
        old = size != held.bytes and (least is None or held.bytes < least)
        due = haste or now >= held.opened + max(LEAST_PAUSE_S, held.cost / _ALLOWED)
        if held.run is None or (old and due):
            first, began = held.bytes < 0, time.thread_time()
            _close(held)
            held.run = RecordedRun(folder)
            held.bytes, held.opened = size, now
            held.cost = 0.0 if first else time.thread_time() - began
            held.answers.clear()
        return held.run


def _close(held: _Held) -> None:
    if held.run is not None:
        held.run.close()
        held.run = None
