"""A pool of prewarmed sandboxes, made while the trial before still runs.

Making a sandbox costs some 40 ms of CPU time, more on busy cores. So what recent trials needed is
made while a trial's first program runs, and the slice need not wait. Each sandbox serves one
program. They are made one after another, and not in the first moments, when programs calibrate
their speed.

Not covered: on a slice of CPU cores this happens within the budget of that first program, in every
trial alike, and counts as foreign CPU load.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from harness.contract import HarnessError
from harness.sandbox.boot.prewarmed import PrewarmedSandbox, SandboxShape
from harness.sandbox.boot.zygote_client import Zygote
from harness.sandbox.policy import SandboxPolicy

MAX_WAITING = 4
"""Sandboxes that wait at a time; a trial needs three."""


class SandboxPool:
    """The prewarmed sandboxes of the zygote's slice, and which shapes trials needed.

    Only the thread that made it may use it: the sandboxes die with that thread.
    """

    def __init__(self, zygote: Zygote) -> None:
        self.zygote, self.slice = zygote, zygote.slice
        self._home = Path(tempfile.gettempdir())
        self.waiting: list[PrewarmedSandbox] = []
        self._wanted: list[SandboxShape] = []
        self._seen: list[SandboxShape] = []

    def next_trial(self, home: Path) -> None:
        """Begin another trial, whose sandboxes keep their files below `home`."""
        self._home, self._seen = home, []

    def take(self, policy: SandboxPolicy, argv: Sequence[str]) -> PrewarmedSandbox | None:
        """Return a waiting sandbox for this program, for the caller to close; None if none fits."""
        shape = SandboxShape.of(policy, argv)
        self._seen.append(shape)
        if self._seen.count(shape) > self._wanted.count(shape):
            self._wanted = [*self._wanted, shape][-MAX_WAITING:]
        match = next((sandbox for sandbox in self.waiting if sandbox.shape == shape), None)
        if match is not None:
            self.waiting.remove(match)
        return match

    def prewarm(self) -> None:
        """Begin to make one more, if the trial's first program runs and none is being made.

        Shapes that are no longer needed are closed. A sandbox that cannot be made now is made when
        it is needed, and the error is reported then.
        """
        if len(self._seen) != 1 or not all(sandbox.made for sandbox in self.waiting):
            return
        missing = list(self._wanted)
        for sandbox in self.waiting.copy():
            if sandbox.shape in missing:
                missing.remove(sandbox.shape)
            else:
                self.waiting.remove(sandbox)
                sandbox.close()
        if missing:
            with suppress(OSError, HarnessError):
                self.waiting.append(PrewarmedSandbox(missing[-1], self.zygote, self._home))

    def close(self) -> None:
        """Close the waiting sandboxes."""
        while self.waiting:
            self.waiting.pop().close()

    def __enter__(self) -> SandboxPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
