"""A run as its islands share it: the ledger, its fold, the bounds and the leases of slices."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.contract import Preflight, Rung, Slice, Trial
from islands import events as ev
from islands.promotion import consensus
from islands.records import RunLimit
from islands.state.run_state import State
from swarm.agents.base import Agent
from swarm.coordinator.interfaces import BranchStore, EventSink, PreflightRunner
from swarm.coordinator.launch_plan import Launch
from swarm.executors.base import Executor

Offload = Callable[..., Awaitable[Any]]
"""How blocking calls leave the event loop: `asyncio.to_thread`, or in simulations `inline`."""


async def inline(call: Callable[..., Any], *args: object) -> Any:  # noqa: ANN401 - any call's result
    """Make a blocking call at once: an `Offload` for simulations, where nothing may block."""
    return call(*args)


def _nobody(event: ev.Event, state: State) -> None:
    """Watch nothing."""


class NoPreflights:
    """Nobody can look at a candidate before its trial."""

    available = False

    async def check(self, trial: Trial) -> Preflight:  # noqa: ARG002 - that is the point
        """Find nothing."""
        return Preflight(ok=True)


@dataclass(slots=True)
class Run:
    """Everything that islands have in common. `watch` is told of each event as it is recorded."""

    launch: Launch
    ledger: EventSink
    branches: BranchStore
    executor: Executor
    agents: Mapping[str, Agent]
    preflights: PreflightRunner = field(default_factory=NoPreflights)
    watch: Callable[[ev.Event, State], None] = _nobody
    offload: Offload = asyncio.to_thread
    now: Callable[[], float] = time.time
    state: State = field(default_factory=State)
    limit: RunLimit | None = None
    _heads: dict[str, str] = field(default_factory=dict)
    _moving: asyncio.Lock = field(default_factory=asyncio.Lock)
    _began: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    _changed: dict[str, asyncio.Event] = field(default_factory=dict)
    _leases: dict[str, asyncio.Lock] = field(default_factory=dict)
    _allotted: int = 0

    def record(self, event: ev.Event) -> None:
        """Keep `event`, fold it in, and let everybody know."""
        kept, home = self.ledger.append(event), self._home(event)
        self.fold(kept)
        self.watch(kept, self.state)
        self.notify(home)

    def record_quarantines(self) -> None:
        """Record what follows from invalid trials so far; the islands' branches are yet to move."""
        while (found := self.state.quarantines.finding()) is not None:
            self.record(found)

    async def sync_branches(self) -> None:
        """Make the islands' branches agree with the ledger, whatever a kill has left."""
        heads = {name: island.head for name, island in self.state.islands.items()}
        built = self.state.promotions.consensus
        if built is not None:
            heads[consensus.NAME] = built.commit
        await self.offload(self.branches.sync_branches, heads)
        self._heads = heads

    async def move_branches(self) -> None:
        """Move each branch to its island's head, wherever that went meanwhile; one at a time."""
        async with self._moving:
            for name, island in self.state.islands.items():
                head, old = island.head, self._heads[name]
                if head != old:
                    await self.offload(self.branches.advance, name, head, old)
                    self._heads[name] = head

    def fold(self, event: ev.Event) -> None:
        """Take `event` into the state; an agent learns how its experiment ended."""
        if isinstance(event, ev.CommitQuarantined):
            self._fold_quarantine(event)
            return
        island = self.state.islands.get(self._home(event))
        last = island.recent_attempts[-1] if island and island.recent_attempts else None
        self.state.apply(event)
        if island is not None and island.recent_attempts and island.recent_attempts[-1] is not last:
            agent = self.agents.get(island.opened.island)
            # not for an island of an earlier launch that this one leaves alone, nor of others'
            if agent is not None and not isinstance(event, ev.HeadAdopted):
                agent.learn(island.recent_attempts[-1])

    def _fold_quarantine(self, event: ev.CommitQuarantined) -> None:
        """Take it into the state; agents hear again of what they had kept and have no more."""
        before = {name: [*island.recent_attempts] for name, island in self.state.islands.items()}
        self.state.apply(event)
        for name, island in self.state.islands.items():
            for old, now in zip(before[name], island.recent_attempts, strict=True):
                if name in self.agents and now.island == name and old.ending != now.ending:
                    self.agents[name].learn(now)

    def _home(self, event: ev.Event) -> str:
        if isinstance(event, ev.TrialEnded | ev.TrialVoided):
            return event.started.island
        return getattr(event, "island", "")

    def next_number(self) -> int:
        """Return the next experiment's number."""
        self._allotted = max(self._allotted, self.state.experiments) + 1
        return self._allotted

    def trials_left(self) -> int:
        """Return how many more trials may begin: what more is asked for cannot be measured."""
        if self.limit_reached(self.state.run.rungs[0]) is not None:
            return 0
        most = self.launch.limits.trials
        return sys.maxsize if most is None else most - self.state.trials

    def last_start(self, rung: Rung) -> float | None:
        """Return the time of the event loop after which no trial may begin, None for never."""
        minutes = self.launch.limits.minutes
        return None if minutes is None else self._began + minutes * 60 - rung.seconds

    def limit_reached(self, rung: Rung) -> RunLimit | None:
        """Return the bound that one more trial would break: nothing is begun that cannot end."""
        bounds = self.launch.limits
        last = self.last_start(rung)
        if last is not None and asyncio.get_running_loop().time() > last:
            return "minutes"
        if bounds.trials is not None and self.state.trials >= bounds.trials:
            return "trials"
        return None

    def fits(self, trials: int, seconds: float) -> bool:
        """Return whether so many more trials and seconds stay within the bounds."""
        bounds = self.launch.limits
        spent = asyncio.get_running_loop().time() - self._began
        in_time = bounds.minutes is None or spent + seconds <= bounds.minutes * 60
        return in_time and (bounds.trials is None or self.state.trials + trials <= bounds.trials)

    def stop(self, limit: RunLimit) -> None:
        """Note which bound was reached, the first one, and let those who wait know."""
        self.limit = self.limit or limit
        self.notify("")

    def notify(self, island: str) -> None:
        """Let those know who wait for something to change, on `island` or anywhere."""
        for name in (island, ""):  # never a set: whom it wakes first must not depend on hashes
            waited = self._changed.pop(name, None)
            if waited is not None:
                waited.set()

    async def wait_changed(self, island: str = "") -> None:
        """Wait until something changes on `island`, or anywhere if none is named."""
        await self._changed.setdefault(island, asyncio.Event()).wait()

    def slice(self, island: str, name: str = "") -> Slice:
        """Return the launch's slice `name`, or the one that `island` measures on now."""
        wanted = name or self.state.islands[island].slice.name
        return self._slices[wanted]

    def fallback_slice(self, island: str) -> Slice | None:
        """Return where `island` can measure: at home, else where fewest are; None: nowhere."""
        state, known = self.state, self.state.sentinels
        well = [where for name, where in self._slices.items() if not known.apart(name)]
        home = state.islands[island].home
        if home in well or not well:
            return home if well else None
        crowd = [state.islands[each.name].slice.name for each in self.launch.islands]
        return min(well, key=lambda where: crowd.count(where.name))

    @property
    def stuck_reason(self) -> str:
        """Return why no slice can be measured on, nothing while one may come back."""
        known = self.state.sentinels
        if not all(map(known.hopeless, self._slices)):
            return ""
        return "; ".join(f"{name}: {known.apart(name)}" for name in self._slices)

    @property
    def _slices(self) -> dict[str, Slice]:
        return {island.slice.name: island.slice for island in self.launch.islands}

    def lease(self, slice_name: str) -> asyncio.Lock:
        """Return the lock that holds a slice: no two trials share one, or its clock is none."""
        return self._leases.setdefault(slice_name, asyncio.Lock())
