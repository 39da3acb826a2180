"""The executor interface: what runs trials on leased slices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

from harness.contract import CheckResult, Outcome, SandboxKind, Slice, Trial, VoidCause


class VoidError(Exception):
    """A trial says nothing about its candidate and must be run again; the message says why.

    cause: what kind of thing went wrong
    """

    def __init__(self, reason: str, cause: VoidCause = "harness") -> None:
        super().__init__(reason)
        self.cause: VoidCause = cause


@dataclass(frozen=True, slots=True)
class ExecutorConfig:
    """What all trials of an executor have in common."""

    task: str
    data: str
    sandbox: SandboxKind = "namespaces"
    max_foreign_cpu: float | None = None
    """Share of its cores' time that other programs may take from a trial, else it is void; None:
    any."""
    problem: str = ""
    """Folder with the frozen problem, "" for a task that needs none."""


class Executor(Protocol):
    """Runs trials on slices; an async context manager that starts and ends their processes."""

    harness: str
    """The harness id, known once the executor is entered."""

    def current_slice(self, slice_: Slice) -> Slice:
        """Return the slice that trials of `slice_` run on now: itself, or a stand-in if it is lost.

        Raises SetupError if no other slice can stand in for it.
        """

    async def run(self, trial: Trial) -> Outcome:
        """Run one trial on its slice. Raises VoidError if it must be run again."""

    async def check(self, trial: Trial) -> CheckResult:
        """Run the problem's checks on a trial's commit. Raises VoidError if they must run again."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...
