"""Boxes made ahead: while one program runs, those that the next ones will want are made.

Making a box costs some 40 ms of processor time, and more where the cores are busy; so what the last
trials have wanted is made while a trial's first program runs, and a slice need not wait. Each box
still serves one program. They are made one after another, and not in the first moments, in which
programs find out how fast they are.

Not covered: on a slice of CPU cores this takes place within the clock of that first program, in
every trial alike, and counts among what others had of its cores.
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

MOST = 4
"""Boxes that wait, at most: a trial needs three."""


class SandboxPool:
    """The boxes that wait on `warm`'s slice, and what trials were seen to want.

    One thread may use it, the one that made it: the boxes end with that thread.
    """

    def __init__(self, warm: Zygote) -> None:
        self.zygote, self.slice = warm, warm.slice
        self._home = Path(tempfile.gettempdir())
        self.waiting: list[PrewarmedSandbox] = []
        self._wanted: list[SandboxShape] = []
        self._seen: list[SandboxShape] = []

    def turn(self, home: Path) -> None:
        """Say that what follows is another trial; boxes' files are to lie below `home`."""
        self._home, self._seen = home, []

    def take(self, policy: SandboxPolicy, argv: Sequence[str]) -> PrewarmedSandbox | None:
        """Return a box for this program, which the caller closes; None where none waits."""
        shape = SandboxShape.of(policy, argv)
        self._seen.append(shape)
        if self._seen.count(shape) > self._wanted.count(shape):
            self._wanted = [*self._wanted, shape][-MOST:]
        found = next((held for held in self.waiting if held.shape == shape), None)
        if found is not None:
            self.waiting.remove(found)
        return found

    def make(self) -> None:
        """Begin to make one more, while its trial's first program runs and no other is being made.

        What nobody has wanted for long is ended. What cannot be made now is made when it is
        wanted, and says then why not.
        """
        if len(self._seen) != 1 or not all(held.made for held in self.waiting):
            return
        missing = list(self._wanted)
        for held in self.waiting.copy():
            if held.shape in missing:
                missing.remove(held.shape)
            else:
                self.waiting.remove(held)
                held.close()
        if missing:
            with suppress(OSError, HarnessError):
                self.waiting.append(PrewarmedSandbox(missing[-1], self.zygote, self._home))

    def close(self) -> None:
        """End the boxes that wait."""
        while self.waiting:
            self.waiting.pop().close()

    def __enter__(self) -> SandboxPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
