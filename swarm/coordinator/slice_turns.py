"""Turns on a slice: a lock whose next holder is chosen among those that wait. No policy, no I/O."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

ChooseTurn = Callable[[Sequence[str]], str]
"""Returns which of the islands that wait is next; they are in the order of their coming."""

_Waiter = tuple[str, asyncio.Future[None]]


@dataclass(slots=True)
class SliceTurns:
    """The turns of one slice: one holder at a time.

    What the run needs (`urgent`: the base, sentinels, stack checks) comes first, in its order;
    whose own experiment is next, `choose` says.
    """

    choose: ChooseTurn
    _held: bool = False
    _urgent: list[_Waiter] = field(default_factory=list)
    _waiting: list[_Waiter] = field(default_factory=list)

    @asynccontextmanager
    async def turn(self, island: str, *, urgent: bool) -> AsyncIterator[None]:
        """Hold the slice inside the block."""
        await self._acquire(island, self._urgent if urgent else self._waiting)
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, island: str, queue: list[_Waiter]) -> None:
        if not self._held:
            self._held = True
            return
        mine = island, asyncio.get_running_loop().create_future()
        queue.append(mine)
        try:
            await mine[1]
        except asyncio.CancelledError:
            if not mine[1].cancelled():  # its turn came as it was cancelled
                self._release()
            raise

    def _release(self) -> None:
        """Pass the slice on to the next, if any still waits."""
        for queue in (self._urgent, self._waiting):
            queue[:] = [one for one in queue if not one[1].cancelled()]
        if not self._urgent and not self._waiting:
            self._held = False
            return
        if self._urgent:
            _, turn = self._urgent.pop(0)
        else:
            names = [island for island, _ in self._waiting]
            _, turn = self._waiting.pop(names.index(self.choose(names)))
        turn.set_result(None)
