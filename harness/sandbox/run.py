"""The one entry to confinement: run a command under a policy, watch it to its end, say how.

Not covered: what a sandbox writes counts as its memory.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from harness.contract import SandboxKind, SetupError
from harness.sandbox.kinds.base import Observer, Sandbox, Source
from harness.sandbox.kinds.landlock import LandlockSandbox
from harness.sandbox.kinds.namespaces import NamespaceSandbox
from harness.sandbox.kinds.unconfined import Unconfined
from harness.sandbox.policy import CpuAllowance, Exit, SandboxPolicy

_Factory = Callable[[SandboxPolicy, Sequence[str], Observer, Source | None], Sandbox]

_KINDS: Final[dict[SandboxKind, _Factory]] = {
    "namespaces": NamespaceSandbox,
    "landlock": LandlockSandbox,
    "none": Unconfined,
}


def run(
    policy: SandboxPolicy, argv: Sequence[str], log: Path, source: Source | None = None
) -> Exit:
    """Run `argv` under `policy`; its output, 1 MiB at most, goes to the file `log`.

    Returns when none of its processes is alive and its outputs are in the `policy.write` folders.
    A command made by `python_argv` starts as a copy of `source`, if one is given: with namespaces
    in one of its prewarmed sandboxes, if one fits. As root, everybody must be able to read what
    `policy.read` names. With Landlock or without a sandbox, an argument that is a path inside the
    sandbox is replaced by the host's path.

    Raises SetupError where this machine cannot make the sandbox, HarnessError where a sandbox does
    not start or does not end; DisturbedError, one of these, where it was kept from running.
    """
    with (
        Observer(log, policy) as observer,
        _sandbox(observer.policy, argv, observer, source) as sandbox,
    ):
        over = _CpuLimit(policy.cpu, sandbox)
        ended = observer.watch(sandbox.program, sandbox.tree, sandbox.meanwhile, over.ended)
        killed = "cpu" if over.spent else ended.killed
        return dataclasses.replace(ended, killed=killed, refused=sandbox.take_outputs())


class _CpuLimit:
    """Ends the watch on a sandbox that has used more time than it is allowed."""

    def __init__(self, allowance: CpuAllowance | None, sandbox: Sandbox) -> None:
        self._allowance, self._sandbox, self.spent = allowance, sandbox, False
        self._since = time.monotonic()

    def ended(self, wait: float) -> bool:
        """Return whether the program has ended, or must."""
        if self._sandbox.program.ended(wait):
            return True
        if self._allowance is not None:
            tree = self._sandbox.tree
            elapsed = time.monotonic() - self._since
            self.spent = self._allowance.exceeded(tree.cpu_seconds(), elapsed, tree.lost)
        return self.spent


class Running:
    """A sandbox that runs beside others, while its starter goes on; leaving the block ends it.

    Enter and leave it in the thread that made `source`; another thread watches it. What the policy
    writes is not taken. Raises what `run` raises.
    """

    def __init__(
        self, policy: SandboxPolicy, argv: Sequence[str], log: Path, source: Source | None = None
    ) -> None:
        self._policy, self._observer = policy, Observer(log, policy)
        self._sandbox = _sandbox(self._observer.policy, argv, self._observer, source)
        self._unwanted = threading.Event()
        self._stack = ExitStack()
        self._exit: Future[Exit]

    def __enter__(self) -> Self:
        with self._stack as stack:  # closed at once where entering fails
            stack.enter_context(self._observer)
            stack.enter_context(self._sandbox)
            watcher = stack.enter_context(ThreadPoolExecutor(1))
            self._exit = watcher.submit(self._watch)
            stack.callback(self._unwanted.set)  # before the watcher is waited for
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.end()
        finally:
            self._stack.close()

    def end(self) -> Exit:
        """Kill what is alive of it and return how it ended, by itself or now."""
        self._unwanted.set()
        if self._policy.kind == "namespaces":  # do not wait for the watcher's next look
            self._sandbox.tree.kill()
        return self._exit.result()

    def ended(self, wait: float) -> bool:
        """Return whether it has ended by itself, after waiting at most `wait` seconds for it."""
        return self._exit.done() or (self._sandbox.program.ended(wait) and self._finished())

    def cpu_seconds(self) -> float | None:
        """Return the CPU time of its processes so far, None where it is not measured."""
        return self._sandbox.tree.cpu_seconds()

    def lost_seconds(self) -> float:
        """Return by how long others have made it wait so far."""
        return self._sandbox.tree.lost

    def _finished(self) -> bool:
        self._exit.result()
        return True

    def _watch(self) -> Exit:
        program, tree = self._sandbox.program, self._sandbox.tree

        def ended(wait: float) -> bool:
            return self._unwanted.is_set() or program.ended(wait)

        return self._observer.watch(program, tree, _nothing, ended)


def _nothing() -> None: ...


def _sandbox(
    policy: SandboxPolicy, argv: Sequence[str], observer: Observer, source: Source | None
) -> Sandbox:
    if policy.kind not in _KINDS:
        raise SetupError(f"no sandbox is called {policy.kind!r}: choose one of {', '.join(_KINDS)}")
    if source is not None and policy.kind != "none" and source.slice != policy.slice:
        raise ValueError(f"{source.slice.name}'s zygote cannot serve {policy.slice.name}")
    return _KINDS[policy.kind](policy, argv, observer, source)
