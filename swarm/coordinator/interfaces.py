"""Interfaces that the coordinator works through; simulations and tests implement their own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from harness.contract import Preflight, Trial
from islands import events as ev
from islands.records import Conflict, Entry

Offload = Callable[..., Awaitable[Any]]
"""Runs a blocking call off the event loop: `asyncio.to_thread`, or `inline` in simulations."""


class EventSink(Protocol):
    """The ledger (analysis/ledger.py)."""

    def append(self, event: ev.Event) -> ev.Event:
        """Append `event`; return it with the time of recording."""

    def events(self) -> Iterator[ev.Event]:
        """Return all recorded events, in order."""


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
        """Commit `files` on `parent` as the experiment's candidate; return its id."""

    def commit_under_ref(
        self, name: str, parent: str, files: Mapping[str, Entry | None], message: str, when: int
    ) -> str:
        """Commit `files` on `parent` under the run's ref `name`; return the commit's id."""

    def apply_change(
        self, parent: str, commit: str, onto: str
    ) -> Mapping[str, Entry | None] | Conflict:
        """Return how `onto` must change to hold what `commit` changed since `parent`."""

    def diff(self, old: str, new: str) -> str:
        """Return the unified diff of the genome between two commits."""

    def diffs(self, pairs: Iterable[tuple[str, str]]) -> Mapping[str, str]:
        """Return the unified diff from `old` to `new` for each pair, by `new`."""

    def tried(self, experiment: int) -> str | None:
        """Return the experiment's candidate, None if it never became one."""

    def numstat(self, old: str, new: str) -> tuple[int, int]:
        """Return how many lines of the genome were added and removed between two commits."""

    def advance(self, island: str, new: str, old: str) -> None:
        """Move an island's branch from `old` to `new`; raise HeadMovedError if it is not there."""

    def sync_branches(self, heads: Mapping[str, str]) -> None:
        """Move every island's branch to its head by the ledger.

        Raises SetupError where a commit of the user's could be lost.
        """

    def pack_candidates(self, base: str) -> None:
        """Keep all candidates of the run that began on `base` without a ref for each."""


class PreflightRunner(Protocol):
    """Runs preflight checks without a slice (swarm/executors/preflight.py)."""

    @property
    def available(self) -> bool:
        """Whether there is a place to run them."""

    async def check(self, trial: Trial) -> Preflight:
        """Return whether the candidate of `trial` can run at all; its slice is not used."""
