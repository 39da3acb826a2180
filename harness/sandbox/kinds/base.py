"""The interface of every kind of sandbox, and the observer that watches one to its end."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from harness.contract import HarnessError
from harness.sandbox.boot.pool import SandboxPool
from harness.sandbox.boot.start import Started, launch
from harness.sandbox.boot.zygote_client import Zygote
from harness.sandbox.guest.clock import VARIABLE
from harness.sandbox.monitor.capped_log import CappedLog
from harness.sandbox.monitor.clock import BudgetClock, ClockPage
from harness.sandbox.monitor.redaction import redacted
from harness.sandbox.monitor.watchdog import Tree, drain, finish, output_pipe, watch
from harness.sandbox.policy import Exit, SandboxPolicy

if TYPE_CHECKING:
    from harness.sandbox.guest.limits import GuestSpec

MIB = 1 << 20

Source = Zygote | SandboxPool
"""What programs start from without importing anything themselves."""


class Sandbox(Protocol):
    """A sandbox with its program: entering it starts the program, leaving it frees everything.

    Entering raises SetupError where this machine cannot make it, HarnessError where it fails.
    """

    @property
    def program(self) -> Started:
        """The started program."""

    @property
    def tree(self) -> Tree:
        """Every process of the sandbox, to be watched and killed."""

    def meanwhile(self) -> None:
        """Do other work while the program runs; called after each look but the first."""

    def take_outputs(self) -> Mapping[str, str]:
        """Copy what the dead program left; return why each refused file was refused, by name."""

    def __enter__(self) -> Self:
        """Start the program."""

    def __exit__(self, *_: object) -> None:
        """Release every descriptor, folder and process of the sandbox."""


class SandboxBase:
    """What every kind keeps: its program's policy and arguments, and what leaving it closes."""

    def __init__(
        self, policy: SandboxPolicy, argv: Sequence[str], observer: Observer, source: Source | None
    ) -> None:
        self._policy, self._argv = policy, argv
        self._observer, self._source = observer, source
        self._stack = ExitStack()

    def __exit__(self, *_: object) -> None:
        self._stack.close()


class Observer:
    """Watches a sandbox from the call to its end and keeps its log."""

    def __init__(self, log: Path, policy: SandboxPolicy) -> None:
        self._given, self._page = policy, ClockPage() if policy.clock else None
        self.called, self.folder = time.monotonic(), log.parent
        self.sink = CappedLog.at(log, policy.secrets)
        self._pipe, self.output = output_pipe()
        self._reaped = _reaped_seconds()

    @property
    def policy(self) -> SandboxPolicy:
        """The policy, with the page of the clock where the program may read it."""
        if self._page is None:
            return self._given
        env = {**self._given.env, VARIABLE: str(self._page.fd)}
        return replace(self._given, fds=(*self._given.fds, self._page.fd), env=env)

    def start(self, spec: GuestSpec) -> Started:
        """Start a program from scratch. Raises HarnessError, with its output, where that fails."""
        try:
            return launch(spec, self.output)
        except HarnessError as error:
            os.set_blocking(self.output, False)
            os.write(self.output, b"\n")  # so that the read below never blocks
            text = os.read(self._pipe, 4096).decode(errors="replace").strip()
            raise HarnessError(f"{error} ({redacted(text, self._given.secrets)})") from error

    def watch(
        self,
        program: Started,
        tree: Tree,
        meanwhile: Callable[[], None],
        ended: Callable[[float], bool] | None = None,
    ) -> Exit:
        """Watch a started program to its end; nothing of `tree` is alive afterwards.

        `ended` replaces the program's own, to end it earlier.
        """
        given, before = self._given, tree.cpu_by_process()
        counts_lost = given.slice.kind == "cpu"
        clock = BudgetClock(program.at, given.seconds, given.max_wall, counts_lost, self._page)
        try:
            killed = watch(tree, ended or program.ended, self._pipe, self.sink, clock, meanwhile)
            left = tree.cpu_by_process()
        finally:
            finish(tree, self._pipe, self.sink)
            took = time.monotonic() - program.at
        start, peak = program.at - self.called, tree.peak / MIB
        code, cpu = program.code(), program.cpu_seconds
        if cpu is None:
            cpu = _reaped_seconds() - self._reaped
        else:  # add what the program left behind and did not wait for
            cpu += sum(max(0.0, used - before.get(pid, 0.0)) for pid, used in left.items())
        lost = min(tree.lost, took)
        return Exit(code, killed, took, start, peak, tree.foreign, lost, cpu_seconds=cpu)

    def __enter__(self) -> Observer:
        return self

    def __exit__(self, *_: object) -> None:
        os.set_blocking(self._pipe, False)
        drain(self._pipe, self.sink)
        os.close(self._pipe)
        os.close(self.output)
        self.sink.close()
        if self._page is not None:
            self._page.__exit__()


def _reaped_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def zygote_of(source: Source) -> Zygote:
    """Return the zygote behind `source`."""
    return source.zygote if isinstance(source, SandboxPool) else source


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    """Yield a descriptor of `folder`, which may not be a link."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield number
    finally:
        os.close(number)
