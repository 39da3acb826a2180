"""The executor interface: what runs trials on leased slices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

from harness.contract import Outcome, SandboxKind, Slice, Trial


class VoidError(Exception):
    """A trial came to nothing through no fault of its candidate; the message says why."""


@dataclass(frozen=True, slots=True)
class ExecutorConfig:
    """What all trials of an executor have in common.

    A trial is void where others took more than the share `foreign_cpu` of its cores' time (None:
    however much they took).
    """

    task: str
    data: str
    sandbox: SandboxKind = "namespaces"
    foreign_cpu: float | None = None


class Executor(Protocol):
    """Where trials run. `harness` is the measure's name, known once the executor is entered."""

    harness: str

    def current_slice(self, where: Slice) -> Slice:
        """Return the slice that trials of `where` run on now: itself, or its stand-in.

        A slice may be lost with its machine. Raises SetupError where nothing can stand in for it.
        """

    async def run(self, trial: Trial) -> Outcome:
        """Run one trial on its slice. Raises VoidError where it must be run again."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...
