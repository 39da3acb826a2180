"""A run as its islands share it: the ledger, its fold, the bounds and the leases of slices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.contract import Rung
from islands import events as ev
from islands.records import RunLimit
from islands.state import State
from swarm.agents.base import Agent
from swarm.executor import Executor
from swarm.parts import Branches, Launch, Ledger

Offload = Callable[..., Awaitable[Any]]
"""How blocking calls leave the event loop: `asyncio.to_thread`, or in simulations `inline`."""


async def inline(call: Callable[..., Any], *args: object) -> Any:  # noqa: ANN401 - any call's result
    """Make a blocking call at once: an `Offload` for simulations, where nothing may block."""
    return call(*args)


def _nobody(event: ev.Event, state: State) -> None:
    """Watch nothing."""


@dataclass(slots=True)
class Run:
    """Everything that islands have in common. `watch` is told of each event as it is recorded."""

    launch: Launch
    ledger: Ledger
    branches: Branches
    executor: Executor
    agents: Mapping[str, Agent]
    watch: Callable[[ev.Event, State], None] = _nobody
    offload: Offload = asyncio.to_thread
    now: Callable[[], float] = time.time
    state: State = field(default_factory=State)
    limit: RunLimit | None = None
    _began: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _leases: dict[str, asyncio.Lock] = field(default_factory=dict)
    _allotted: int = 0

    def record(self, event: ev.Event) -> None:
        """Keep `event`, fold it in, and let everybody know."""
        kept = self.ledger.append(event)
        self.fold(kept)
        self.watch(kept, self.state)
        self._wake()

    def fold(self, event: ev.Event) -> None:
        """Take `event` into the state; an agent learns how its experiment ended."""
        island = self.state.islands.get(self._home(event))
        open_ = island.experiment if island is not None else None
        self.state.apply(event)
        if island is None or open_ is None or open_.null:
            return
        if island.experiment is None:
            agent = self.agents.get(island.opened.island)
            if agent is not None:  # an island of an earlier launch that this one leaves alone
                agent.learn(island.recent[-1])

    def _home(self, event: ev.Event) -> str:
        if isinstance(event, ev.TrialEnded):
            return self.state.running[event.trial].island
        return getattr(event, "island", "")

    def allot(self) -> int:
        """Return the next experiment's number."""
        self._allotted = max(self._allotted, self.state.experiments) + 1
        return self._allotted

    def bound(self, rung: Rung) -> RunLimit | None:
        """Return the bound that one more trial would break: nothing is begun that cannot end."""
        bounds = self.launch.bounds
        spent = asyncio.get_running_loop().time() - self._began
        if bounds.minutes is not None and spent + rung.seconds > bounds.minutes * 60:
            return "minutes"
        if bounds.trials is not None and self.state.trials >= bounds.trials:
            return "trials"
        return None

    def room(self, trials: int, seconds: float) -> bool:
        """Return whether so many more trials and seconds stay within the bounds."""
        bounds = self.launch.bounds
        spent = asyncio.get_running_loop().time() - self._began
        in_time = bounds.minutes is None or spent + seconds <= bounds.minutes * 60
        return in_time and (bounds.trials is None or self.state.trials + trials <= bounds.trials)

    def stop(self, limit: RunLimit) -> None:
        """Note which bound was reached, the first one, and let those who wait know."""
        self.limit = self.limit or limit
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self) -> None:
        """Wait until something is recorded."""
        await self._changed.wait()

    def lease(self, slice_name: str) -> asyncio.Lock:
        """Return the lock that holds a slice: no two trials share one, or its clock is none."""
        return self._leases.setdefault(slice_name, asyncio.Lock())
