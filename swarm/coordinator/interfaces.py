"""The interfaces that the coordinator works through; tests and simulations implement their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from harness.contract import Preflight, Trial
from islands import events as ev
from islands.records import Conflict, Entry


class EventSink(Protocol):
    """Where events are kept (analysis/ledger.py)."""

    def append(self, event: ev.Event) -> ev.Event:
        """Keep `event`; return it with its time."""

    def events(self) -> Iterator[ev.Event]:
        """Return what has been kept, in order."""


class BranchStore(Protocol):
    """The git side of a run (islands/git/branches.py)."""

    def branch(self, island: str) -> str:
        """Return the name of an island's branch."""

    def files(self, commit: str) -> Mapping[str, Entry]:
        """Return the genome's files in `commit` by path."""

    def export(self, commit: str, into: Path) -> None:
        """Write the genome's files in `commit` below the new folder `into`."""

    def commit(
        self,
        parent: str,
        files: Mapping[str, Entry | None],
        message: str,
        experiment: int,
        when: int,
    ) -> str:
        """Commit `files` on `parent`, hold the commit by a ref, return its id."""

    def commit_under_ref(
        self, name: str, parent: str, files: Mapping[str, Entry | None], message: str, when: int
    ) -> str:
        """Commit `files` on `parent`, hold the commit by a ref `name` of the run, return its id."""

    def apply_change(
        self, parent: str, commit: str, onto: str
    ) -> Mapping[str, Entry | None] | Conflict:
        """Return what must differ on `onto` for it to hold what `commit` changed since `parent`."""

    def diff(self, old: str, new: str) -> str:
        """Return the unified diff of the genome between two commits."""

    def tried(self, experiment: int) -> str | None:
        """Return the commit held for an experiment, None where it came to none."""

    def numstat(self, old: str, new: str) -> tuple[int, int]:
        """Return how many lines `new` adds to and removes from the genome of `old`."""

    def advance(self, island: str, new: str, old: str) -> None:
        """Move an island's branch from `old` to `new`, or raise where it is not at `old`."""

    def sync_branches(self, heads: Mapping[str, str]) -> None:
        """Make the islands' branches agree with the ledger."""


class PreflightRunner(Protocol):
    """Looks at candidates beside the slices (swarm/executors/preflight.py)."""

    @property
    def available(self) -> bool:
        """Whether anybody can look."""

    async def check(self, trial: Trial) -> Preflight:
        """Say what is against the candidate of `trial`, whose slice is left alone."""
