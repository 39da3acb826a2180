"""Keeps candidates ready for one island: asks its agent ahead, has waiting candidates rebased.

Runs beside the island's loop (swarm/coordinator/island_loop.py), so that no slice waits while an
agent thinks. `PrefetchDepth` says how many proposals to ask for ahead,
islands/scheduling/island_steps.py what to do next, swarm/coordinator/candidates.py makes the
candidates.

Not covered: proposals asked for at the same time share one brief and may come out alike; the brief
shows what is pending, and each has its own seed.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from dataclasses import dataclass, field, replace

from harness.contract import SetupError
from islands import events as ev
from islands.genome import null_edits
from islands.records import NULL, Brief, Proposal, RunLimit
from islands.rng import seed_of
from islands.scheduling.arm_choice import choose_arm
from islands.scheduling.island_steps import next_ask
from islands.scheduling.steps import EnoughPending, Rebase, RequestProposal
from islands.state.arms import ProposalArm
from islands.state.population import Experiment
from swarm.agents.base import Agent, AgentError, Priced
from swarm.agents.llm.budget import BudgetError
from swarm.agents.plain_sampling import IID
from swarm.coordinator.agent_calls import agent_call, recordable
from swarm.coordinator.brief import Briefer, digest
from swarm.coordinator.candidates import CandidateMaker
from swarm.coordinator.ideas_left import MAX_PAID_REPEATS, MAX_REPEATS, IdeasLeft, Place
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.prefetch import PrefetchDepth
from swarm.coordinator.run import Run

MAX_REPAIRS = 2
"""How often an agent is shown at once why its proposal was refused, to repair it."""

MAX_PAUSE_S = 60.0
"""Longest pause before the next request after repeated failures or refusals."""

PAUSE_UNIT_S = 0.25
"""The pause after n failures or refusals in a row is 2^n times this, at most MAX_PAUSE_S."""


REPEAT_PAUSE_S, REPEATS_TO_DOUBLE = 0.05, 8
"""The pause after a first repeat, and after how many more in a row it doubles.

A mutator on a new head may go through some dozen edits that the record answers; what repeats
itself for ever has to be slowed down.
"""


@dataclass(slots=True)
class Proposer:
    """Asks the agent of one island and keeps its queue of candidates filled."""

    run: Run
    briefer: Briefer
    candidates: CandidateMaker
    prefetch: PrefetchDepth = field(default_factory=PrefetchDepth)
    limit: RunLimit | None = None
    """The limit that leaves no money or tokens for another proposal."""

    _limits: RunLimits | None = None
    """The limits as they were then."""

    _requests: int = 0
    _rebasing: set[int] = field(default_factory=set)
    _ports: set[int] = field(default_factory=set)
    """Origins of migrants whose change the agent has been asked to express here."""

    _ideas: IdeasLeft = field(init=False)

    def __post_init__(self) -> None:
        self._ideas = IdeasLeft(self.candidates.island.arms)

    @property
    def name(self) -> str:
        """The island's name."""
        return self.candidates.island.name

    @property
    def busy(self) -> bool:
        """Whether a request or rebase under way may still yield a candidate."""
        queue = self.run.state.islands[self.name].queue
        return self._requests > 0 or any(waiting.state == "waiting" for waiting in queue)

    async def run_forever(self) -> None:
        """Ask and rebase until cancelled; calls under way are then recorded as abandoned."""
        async with asyncio.TaskGroup() as group:
            while True:
                match self._next():
                    case RequestProposal():
                        arm = self._choose()
                        self.run.health.ask(self._agent(arm).name)
                        self._requests += 1
                        group.create_task(self._request_candidate(arm))
                    case Rebase(experiment, onto):
                        self._rebasing.add(experiment.number)
                        group.create_task(self._rebase(experiment, onto))
                    case EnoughPending():
                        await self._wait()

    def _next(self) -> RequestProposal | Rebase | EnoughPending:
        run = self.run
        trials_left = run.limits.trials_left(run.state.run.rungs[0])
        if self.limit and self._limits != run.limits.limits:
            self.limit = None  # a person has set others
        depth = 0 if self.limit else min(self.prefetch.depth, trials_left)
        step = next_ask(run.state, self.name, depth, self._requests, self._rebasing)
        if isinstance(step, RequestProposal) and self._rest_s() > 0:
            return EnoughPending()
        return step

    def _agent(self, arm: ProposalArm) -> Agent:
        return self.run.agent(self.name, arm.agent)

    def _rest_s(self) -> float:
        """Return the seconds for which none of the island's agents is asked."""
        now, rest_s = asyncio.get_running_loop().time(), self.run.health.rest_s
        arms = self._ideas.willing(self._place())
        return min(rest_s(self._agent(arm).name, now) for arm in arms)

    def _place(self) -> Place:
        return self.run.state.islands[self.name].head, len(self.run.state.keeps)

    def _choose(self) -> ProposalArm:
        """Return who proposes next, of those that do not rest; ports are the first agent's."""
        run, now = self.run, asyncio.get_running_loop().time()
        port = run.state.migrants.ports.get(self.name)
        willing = self._ideas.willing(self._place())
        arms = [arm for arm in willing if run.health.rest_s(self._agent(arm).name, now) <= 0]
        if port is not None and port.migrant.origin not in self._ports:
            arms = [arm for arm in arms if arm.agent == self.candidates.island.agent] or arms
        seed = seed_of(run.state.run.seed, "arm", self.name, run.state.experiments, self._requests)
        return choose_arm(arms, run.state.arms.totals, run.launch.arms, seed)

    async def _wait(self) -> None:
        state = self.run.state
        island = state.islands[self.name]
        # all islands share the baseline; once it is scored only this island's events matter here,
        # and others' keeps where its agent has nothing left to try
        rest_s = self._rest_s()
        own = state.scores.has(island.head) and not island.exhausted and rest_s < math.inf
        with suppress(TimeoutError):
            async with asyncio.timeout(rest_s if 0 < rest_s < math.inf else None):
                await self.run.changes.wait(self.name if own else "")

    async def _rebase(self, experiment: Experiment, onto: str) -> None:
        try:
            await self.candidates.rebase(experiment, onto)
        finally:
            self._rebasing.discard(experiment.number)
            self.run.changes.notify(self.name)

    async def _request_candidate(self, arm: ProposalArm) -> None:
        """Ask for one candidate; let the agent repair a proposal that is refused."""
        try:
            refusal = ""
            repairs = 0 if arm.agent == IID else MAX_REPAIRS  # samples are independent
            for _ in range(repairs + 1):
                refusal = await self._propose(arm, refusal)
                if not refusal:
                    return
        finally:
            self._requests -= 1
            self.run.changes.notify(self.name)

    async def _propose(self, arm: ProposalArm, refusal: str) -> str:
        """Ask for a proposal and have it admitted; return why it was refused, "" if it was not.

        `refusal` says why the one before was refused.
        """
        run, name, start = self.run, self.name, asyncio.get_running_loop().time()
        number, agent, parent = run.next_number(), self._agent(arm), run.state.islands[name].head
        null = await self._null_proposal(number, parent)
        if null is not None:
            run.health.released(agent.name)
            await self._submit_null(number, parent, null)
            return refusal  # the agent has not seen this attempt
        brief, origin = self._brief(number, arm, refusal)
        try:
            proposal = await self._ask(agent, number, brief)
        except AgentError as error:
            await self._failed(arm, number, error, origin)
            return ""
        if proposal is None:
            return ""
        if run.health.proposed(agent.name):
            run.changes.notify()
        run.record(
            ev.ProposalReceived(
                number,
                name,
                agent.name,
                parent,
                proposal.hypothesis,
                proposal.notes,
                proposal.usage,
                origin,
                arm.temperament,
                digest(brief),
            )
        )
        written_on = run.state.run.base if arm.agent == IID else ""
        refusal = await self.candidates.admit(number, parent, proposal, agent.name, written_on)
        attempts = run.state.islands[name].recent_attempts
        ended = next((one for one in reversed(attempts) if one.experiment == number), None)
        self._ideas.count(arm.agent, ended)
        if refusal:
            return await self._refused(arm, refusal)
        self.prefetch.add_latency(asyncio.get_running_loop().time() - start)
        return ""

    async def _ask(self, agent: Agent, number: int, brief: Brief) -> Proposal | None:
        """Return what the agent proposes, None where no limit has room for its call."""
        try:
            with agent_call(self.run, number):
                return recordable(await agent.propose(brief))
        except BudgetError as error:
            self.limit, self._limits = error.limit, self.run.limits.limits
            self.run.health.released(agent.name)
            return None
        except asyncio.CancelledError:
            call = self.run.state.calls.open.get(number)
            if call is not None:
                self.run.record(abandoned_call(call))
            raise

    async def _failed(self, arm: ProposalArm, number: int, error: AgentError, origin: int) -> None:
        """Record that a call gave no proposal, and wait before the next one."""
        if error.error_kind == "exhausted" and self._others_go_on(arm):
            return
        agent = self._agent(arm).name
        self.run.record(
            ev.AgentFailed(
                number,
                self.name,
                agent,
                error.error_kind,
                str(error),
                error.usage,
                origin,
                arm.temperament,
            )
        )
        if self.name in self.run.state.migrants.ports:  # no answer: the port is requested again
            self._ports.discard(origin)
        await self._pause_after(agent, error)

    async def _refused(self, arm: ProposalArm, refusal: str) -> str:
        """Wait before the agent is asked again; return what it is shown, "" if it is of no use."""
        most = MAX_PAID_REPEATS if self._is_paid(arm) else MAX_REPEATS
        if self._ideas.only_repeats(arm.agent, most):
            self._end_repeats(arm, most)
            return ""
        if self.run.state.islands[self.name].exhausted:
            return ""  # another request has found that out
        await asyncio.sleep(self._pause_s())
        return refusal

    def _is_paid(self, arm: ProposalArm) -> bool:
        return arm.agent == IID or isinstance(self._agent(arm), Priced)

    def _end_repeats(self, arm: ProposalArm, most: int) -> None:
        """Record that an agent only repeats itself; it would be paid for that until the end."""
        if self._others_go_on(arm):
            return
        self.run.record(
            ev.AgentFailed(
                self.run.next_number(),
                self.name,
                self._agent(arm).name,
                "exhausted",
                f"its last {most} proposals repeat what was tried",
                temperament=arm.temperament,
            )
        )

    def _others_go_on(self, arm: ProposalArm) -> bool:
        """Note that an agent has nothing left to try; return whether that is to go unrecorded.

        It is where another request has said so, or where another agent of the team may have more.
        """
        if self.run.state.islands[self.name].exhausted:
            return True
        if not self._ideas.end(arm.agent, self._place()):
            return False
        self.run.health.proposed(self._agent(arm).name)
        return True

    async def _pause_after(self, agent: str, error: AgentError) -> None:
        """Wait before the agent is asked again; where it rests, `_wait` does that.

        Raises SetupError where an agent that has never proposed should stop the launch.
        """
        run, now = self.run, asyncio.get_running_loop().time()
        stop = run.health.failed(agent, error, now)
        if stop:
            raise SetupError(stop)
        if self._rest_s() > 0:
            run.changes.notify()
        else:
            await asyncio.sleep(self._pause_s(error.retry_after))

    async def _submit_null(self, number: int, parent: str, null: Proposal) -> None:
        run = self.run
        run.record(ev.ProposalReceived(number, self.name, NULL, parent, null.hypothesis))
        if await self.candidates.admit(number, parent, null, self.candidates.island.agent):
            await asyncio.sleep(self._pause_s())

    def _brief(self, number: int, arm: ProposalArm, refusal: str) -> tuple[Brief, int]:
        """Return a brief, and the origin of the migrant it asks to express here, 0 for none.

        Only one of the proposals asked for at the same time is asked to do that.
        """
        state = self.run.state
        brief = self.briefer.brief(state, self.name, number, refusal)
        brief = replace(
            brief,
            agent=self._agent(arm).name,
            temperament=arm.temperament,
            left=self.run.limits.left(),
        )
        if arm.agent == IID:
            return self.briefer.plain(brief, state), 0
        port = state.migrants.ports.get(self.name)
        if port is None or port.migrant.origin in self._ports:
            return replace(brief, port=None), 0
        self._ports.add(port.migrant.origin)
        return brief, port.migrant.origin

    async def _null_proposal(self, number: int, parent: str) -> Proposal | None:
        """Return a proposal that does nothing if this number is drawn for one (A/A test)."""
        run = self.run
        seed = run.state.run.seed
        if not null_edits.is_null(seed, number, run.launch.ratchet.null_rate):
            return None
        head = await run.offload(run.branches.files, parent)
        null: Proposal | None = await run.offload(null_edits.null_proposal, seed, number, head)
        return null

    def _pause_s(self, retry_after: float = 0.0) -> float:
        island = self.run.state.islands[self.name]
        in_a_row = max(island.agent_failures_in_a_row, island.refusals_in_a_row)
        pause = PAUSE_UNIT_S * 2.0 ** min(in_a_row, 10)
        repeats = island.repeats_in_a_row + island.claims_in_a_row
        if repeats and not in_a_row:
            doublings = repeats / REPEATS_TO_DOUBLE
            pause = REPEAT_PAUSE_S * 2.0 ** min(doublings, 12.0)
        return max(retry_after, min(MAX_PAUSE_S, pause))


def abandoned_call(call: ev.AgentCallStarted) -> ev.AgentFailed:
    """Return the event for a call whose answer will not come; it is charged at its largest cost."""
    reason = "the coordinator stopped before it answered"
    return ev.AgentFailed(call.experiment, call.island, call.agent, "stopped", reason, call.usage)
