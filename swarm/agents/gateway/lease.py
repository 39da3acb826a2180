"""One proposal's door to its model: a token, an address, and what its calls have cost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from islands.records import Usage
from swarm.agents.base import AgentError
from swarm.agents.llm.budget import BudgetError
from swarm.agents.llm.capabilities import Capabilities
from swarm.agents.llm.meter import Bill, Meter
from swarm.agents.llm.settings import ModelSettings


@dataclass(eq=False, slots=True)
class Lease:
    """One proposal's door. Closing it ends the calls in flight, settled as far as they have told.

    url: base URL for the agent, which appends /v1/messages, /v1/responses or /v1/chat/completions
    token: what the agent gets in place of a key; it opens this door alone
    failure: why the latest call failed, None if it did not
    unanswered: why each call that brought no answer, after all tries, brought none
    """

    url: str
    token: str = field(repr=False)
    meter: Meter = field(repr=False)
    bill: Bill = field(repr=False)
    key: str = field(repr=False)
    known: Capabilities = field(repr=False)
    on_close: Callable[[], Awaitable[None]] = field(repr=False)
    settle_s: float = 5.0
    failure: AgentError | BudgetError | None = None
    unanswered: list[AgentError | BudgetError] = field(default_factory=list, repr=False)
    closed: bool = False
    _calls: set[asyncio.Task[None]] = field(default_factory=set, repr=False)

    @property
    def usage(self) -> Usage:
        """The cost so far: an upper bound until all calls are settled."""
        return self.bill.usage

    @property
    def settings(self) -> ModelSettings:
        """The settings of the model."""
        return self.meter.settings

    @property
    def calls_open(self) -> int:
        """How many calls wait for their turn or their answer."""
        return len(self._calls)

    def give_up(self) -> None:
        """Note that the latest failure is a call's last."""
        if self.failure is not None:
            self.unanswered.append(self.failure)

    @contextlib.contextmanager
    def calling(self) -> Iterator[None]:
        """Count the current task as a call in flight during the body."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - called from one
        self._calls.add(task)
        try:
            yield
        finally:
            self._calls.discard(task)

    async def close(self) -> None:
        """Refuse further calls, and end those in flight.

        Those have `settle_s` seconds to tell their cost: an agent that was killed leaves the calls
        it made. The others are then cut off and count at what they may have cost.
        """
        if self.closed:
            return
        self.closed = True
        await self.on_close()
        try:
            if self._calls:
                await asyncio.wait(self._calls, timeout=self.settle_s)
        finally:
            for task in self._calls:
                task.cancel()
        if self._calls:
            await asyncio.wait(self._calls)
