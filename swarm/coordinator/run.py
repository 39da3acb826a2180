"""The run that its islands share: ledger, state, agents, executor, limits, locks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from harness.contract import Preflight, Trial
from islands import events as ev
from islands.events import steering as se
from islands.records import Attempt, RunLimit
from islands.rng import seed_of
from islands.scheduling.arm_choice import choose_island
from islands.state.run_state import State
from islands.steering import SteeringCommand, accept
from swarm.agents.base import Agent, Summariser
from swarm.agents.llm.budget import Budget
from swarm.coordinator.agent_health import AgentHealth
from swarm.coordinator.branch_sync import BranchSync
from swarm.coordinator.inbox import Inbox
from swarm.coordinator.interfaces import BranchStore, EventSink, Offload, PreflightRunner
from swarm.coordinator.launch_plan import Launch
from swarm.coordinator.limits import LimitChecker
from swarm.coordinator.notifier import Notifier
from swarm.coordinator.repeats import Holder
from swarm.coordinator.slice_choice import SliceChoice
from swarm.coordinator.slice_turns import SliceTurns
from swarm.executors.base import Executor


async def inline(call: Callable[..., Any], *args: object) -> Any:  # noqa: ANN401 - any call's result
    """Call on the event loop: the `Offload` of simulations, where nothing blocks."""
    return call(*args)


def _ignore(event: ev.Event, state: State) -> None:
    """Observe nothing."""


class NoPreflights:
    """A `PreflightRunner` without a place to run: candidates go to their trials unchecked."""

    available = False

    async def check(self, trial: Trial) -> Preflight:  # noqa: ARG002 - nothing is checked
        """Pass every candidate."""
        return Preflight(ok=True)


@dataclass(slots=True)
class Run:
    """One launch of a run, shared by the tasks of all islands."""

    launch: Launch
    ledger: EventSink
    branches: BranchStore
    executor: Executor
    agents: Mapping[str, Agent]
    """By island: its agent, or the first of its team."""

    teams: Mapping[str, Mapping[str, Agent]] = field(default_factory=dict)
    """By island and name, where several agents share an island's proposals."""

    preflights: PreflightRunner = field(default_factory=NoPreflights)
    watch: Callable[[ev.Event, State], None] = _ignore
    """Called with each event once it is recorded."""

    offload: Offload = asyncio.to_thread
    now: Callable[[], float] = time.time
    """Seconds since the epoch, for commits."""

    budget: Budget | None = None
    """What the agents may spend, None where no agent spends anything."""

    writer: Summariser | None = None
    """The model that sums up what the run has taught, None where there is none."""

    inbox: Inbox | None = None
    """Where a person's commands arrive, None in simulations."""

    state: State = field(default_factory=State)
    limit: RunLimit | None = None
    """The limit that ended the launch, None while it runs."""

    limits: LimitChecker = field(init=False)
    slices: SliceChoice = field(init=False)
    branch_sync: BranchSync = field(init=False)
    changes: Notifier = field(default_factory=Notifier)
    health: AgentHealth = field(default_factory=AgentHealth)
    claims: dict[str, Holder] = field(default_factory=dict)
    """Changes whose admission is under way, by digest; once admitted, the state tells of them."""

    _fault: Exception | None = field(default=None, repr=False)
    """Why the state lacks an event that the ledger holds: nothing is recorded after that."""

    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)
    _turns: dict[str, SliceTurns] = field(default_factory=dict)
    _last_number: int = 0

    def __post_init__(self) -> None:
        self.limits = LimitChecker(self.launch.limits, self.state)
        self.slices = SliceChoice(self.launch.islands, self.state)
        self.branch_sync = BranchSync(self.branches, self.state, self.offload)

    def record(self, event: ev.Event) -> None:
        """Write `event` to the ledger, fold it into the state and wake the tasks that wait.

        Once the state could not take an event in, it raises that error again at every event: a task
        that goes on after an error must not act on a state that is no longer the ledger's.
        """
        if self._fault is not None:
            raise self._fault
        stamped, island = self.ledger.append(event), self._island_of(event)
        try:
            self.fold(stamped)
        except Exception as error:
            self._fault = error
            raise
        self.watch(stamped, self.state)
        self.changes.notify(island)

    def record_quarantines(self) -> None:
        """Record what follows from invalid commits so far; branches move later (`branch_sync`)."""
        while (quarantine := self.state.quarantines.next_event()) is not None:
            self.record(quarantine)

    def fold(self, event: ev.Event) -> None:
        """Apply `event` to the state and tell an agent how its experiment ended."""
        if isinstance(event, ev.CommitQuarantined):
            self._fold_quarantine(event)
            return
        if isinstance(event, ev.SliceQuarantined):
            self._tell_of_void(event)
        island = self.state.islands.get(self._island_of(event))
        last = island.recent_attempts[-1] if island and island.recent_attempts else None
        self.state.apply(event)
        if isinstance(event, ev.HeadAdopted | se.IslandRestarted):
            return  # that is another island's experiment
        if island is not None and island.recent_attempts and island.recent_attempts[-1] is not last:
            self._tell(island.opened.island, island.recent_attempts[-1])

    def steer(self, command: SteeringCommand, request: str) -> se.Command:
        """Record a person's command and what follows from it at once; return its event.

        Raises SetupError where it cannot be carried out.
        """
        taken = self.state.steering.requests.get(request)
        if taken is not None:  # by a coordinator that was killed before it replied
            return taken
        event = accept(self.state, command, request, running=True)
        self.record(event)
        self.record_quarantines()
        self.bound_budget()
        if isinstance(event, se.StopAsked):
            self.stop("person")
        for island in self.launch.islands:
            self.changes.notify(island.name)
        return event

    def bound_budget(self) -> None:
        """Let the agents spend what the limits allow now."""
        if self.budget is not None:
            limits = self.limits.limits
            self.budget.set_limits(limits.usd, limits.tokens)

    def next_number(self) -> int:
        """Return the next experiment's number."""
        self._last_number = max(self._last_number, self.state.experiments) + 1
        return self._last_number

    def stop(self, limit: RunLimit) -> None:
        """Note the limit that was reached, unless one was before, and wake the tasks that wait."""
        self.limit = self.limit or limit
        self.changes.notify()

    @contextmanager
    def claim(self, change: str, experiment: int, island: str) -> Iterator[None]:
        """Let nobody else have `change` admitted inside the block."""
        mine = change and change not in self.claims
        if mine:
            self.claims[change] = Holder(experiment, island)
        try:
            yield
        finally:
            if mine:
                del self.claims[change]

    def lock(self, name: str) -> asyncio.Lock:
        """Return the lock `name`, of refs or of a commit's checks."""
        return self._locks.setdefault(name, asyncio.Lock())

    def turns(self, slice_: str) -> SliceTurns:
        """Return the turns on a slice: two trials at once would falsify its clock."""
        return self._turns.setdefault(slice_, SliceTurns(self._next_island))

    def _next_island(self, waiting: Sequence[str]) -> str:
        """Return whose experiment is next on a slice that several islands share."""
        seed = seed_of(self.state.run.seed, "turn", self.state.trials_started)
        return choose_island(waiting, self.state.arms.totals, self.launch.arms, seed)

    def _fold_quarantine(self, event: ev.CommitQuarantined) -> None:
        """Apply it to the state; tell agents again of experiments whose ending it changes."""
        before = {name: [*island.recent_attempts] for name, island in self.state.islands.items()}
        self.state.apply(event)
        for name, island in self.state.islands.items():
            for old, new in zip(before[name], island.recent_attempts, strict=True):
                if new.island == name and old.ending != new.ending:
                    self._tell(name, new)

    def _tell_of_void(self, event: ev.SliceQuarantined) -> None:
        """Tell agents of discards that are about to be void, as far as they are still shown."""
        for discard in event.discards:
            for attempt in self.state.islands[discard.island].recent_attempts:
                if attempt.experiment == discard.experiment:
                    reason = f"void: slice {event.slice} had drifted; not known to be worse"
                    void = replace(attempt, ending="void", reason=reason, gain=None)
                    self._tell(discard.island, void)

    def agent(self, island: str, name: str) -> Agent:
        """Return the agent `name` of an island."""
        return self.teams.get(island, {}).get(name) or self.agents[island]

    def _tell(self, island: str, attempt: Attempt) -> None:
        """Tell all agents of an island how an experiment ended.

        None if the island is of an earlier launch and this one does not run it.
        """
        home = self.agents.get(island)
        for agent in self.teams.get(island, {"": home}).values():
            if agent is not None:
                agent.learn(attempt)

    def _island_of(self, event: ev.Event) -> str:
        """Return the island on which `event` happened, "" for an event of the run."""
        if isinstance(event, ev.TrialEnded | ev.TrialVoided):
            return event.started.island
        return getattr(event, "island", "")
