"""An event loop on virtual time: hours of a run pass in seconds, the same way each time.

Code that waits by `asyncio.sleep` and `asyncio.timeout` cannot tell the difference. Nothing that
runs on this loop may wait for the outside world: no threads, no sockets, no child processes.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class DeadlockError(Exception):
    """Every task waits and no timer is set: nothing would ever happen again."""


class _JumpingSelector(selectors.SelectSelector):
    """Selects nothing, at once, and advances time by what a real selector would have waited."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise DeadlockError("all tasks are blocked and no timer is set")
        self.now += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop on virtual time, which begins at 0.0 seconds."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._jumping.now


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on virtual time. Raises DeadlockError where all tasks wait without a timer."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
