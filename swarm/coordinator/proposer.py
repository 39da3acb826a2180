"""Sees to it that an island's slice always finds a candidate that is ready: asks, admits, rebases.

This runs beside the measuring (swarm/coordinator/island_loop.py), so that no slice waits while an
agent thinks. How
much is asked for ahead is `PrefetchDepth`'s to say, what is to be done
islands/scheduling/island_steps.py's. A candidate is
ready when it is committed, has passed a look beside the slice (swarm/executors/preflight.py) and
stands on
the island's head. Where the head has moved, what the candidate changed is applied to the new one,
let in and looked at again; where that cannot be, it is dropped.

Not covered: several proposals that are asked for at one time are drawn on one brief, so that they
may come out alike; the brief shows what is already there, and each has a seed of its own.
"""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.contract import Preflight, Trial
from islands import events as ev
from islands import trailers
from islands.genome import null_edits as nulls
from islands.genome.admission import Refused, admit
from islands.quarantine import REASON
from islands.records import NULL, Brief, Conflict, Entry, Proposal, RunLimit
from islands.scheduling.island_steps import EnoughPending, Rebase, RequestProposal, next_ask
from islands.state.population import Experiment
from swarm.agents.base import AgentError
from swarm.agents.llm.budget import BudgetError
from swarm.coordinator.brief import Briefer
from swarm.coordinator.launch_plan import IslandPlan
from swarm.coordinator.prefetch import PrefetchDepth
from swarm.coordinator.run import Run

REPAIRS = 2
"""How often an agent is shown at once why its answer was not let in, to mend it."""

MIGRATION = "migration"
"""Who proposed a migrant, as its commit says."""

PAUSE = 60.0
"""Seconds that an island waits at most after its agent failed or was refused again and again."""

SHOWN = 6_000
"""Characters of a refused candidate's change that its agent is shown again."""


@dataclass(slots=True)
class Proposer:
    """The asking side of one island. `limit` says that no more can be paid for, and why."""

    run: Run
    briefer: Briefer
    island: IslandPlan
    prefetch: PrefetchDepth = field(default_factory=PrefetchDepth)
    limit: RunLimit | None = None
    _asked: int = 0
    _taken: set[int] = field(default_factory=set)
    _ported: set[int] = field(default_factory=set)

    async def run_forever(self) -> None:
        """Go on until cancelled; what is under way then is settled."""
        async with asyncio.TaskGroup() as group:
            while True:
                match self._next():
                    case RequestProposal():
                        self._asked += 1
                        group.create_task(self._ask())
                    case Rebase(experiment, onto):
                        self._taken.add(experiment.number)
                        group.create_task(self._rebase(experiment, onto))
                    case EnoughPending():
                        await self._rest()

    @property
    def busy(self) -> bool:
        """Whether a candidate may still come of what is under way."""
        waiting = self.run.state.islands[self.island.name].queue
        return self._asked > 0 or any(each.state == "waiting" for each in waiting)

    async def bring(self, number: int, parent: str, proposal: Proposal) -> None:
        """Make a change that another island kept a candidate on `parent`, or refuse it."""
        await self._see_through(number, parent, proposal, MIGRATION)

    def _next(self) -> RequestProposal | Rebase | EnoughPending:
        depth = 0 if self.limit else min(self.prefetch.depth, self.run.trials_left())
        return next_ask(self.run.state, self.island.name, depth, self._asked, self._taken)

    async def _rest(self) -> None:
        state = self.run.state
        started = state.scored(state.islands[self.island.name].head)
        # the baseline is everybody's; from then on only what happens on the island counts here
        await self.run.wait_changed(self.island.name if started else "")

    async def _ask(self) -> None:
        """Ask for one candidate; where it is not let in, let the agent mend it."""
        try:
            refused = ""
            for _ in range(REPAIRS + 1):
                refused = await self._propose(refused)
                if not refused:
                    return
        finally:
            self._asked -= 1
            self.run.notify(self.island.name)

    async def _propose(self, refused: str) -> str:
        """Ask for a proposal and see it through; return why it was not let in, if it was not."""
        run, name, began = self.run, self.island.name, asyncio.get_running_loop().time()
        number, agent, parent = run.next_number(), run.agents[name], run.state.islands[name].head
        null = await self._null(number, parent)
        if null is not None:
            run.record(ev.ProposalReceived(number, name, NULL, parent, null.hypothesis))
            if await self._see_through(number, parent, null):
                await asyncio.sleep(self._pause())
            return refused  # nobody is told of it
        brief, origin = self._brief(number, refused)
        try:
            proposal = await agent.propose(brief)
        except BudgetError as error:
            self.limit = error.limit
            return ""
        except asyncio.CancelledError:
            call = run.state.calls.open.get(number)
            if call is not None:
                run.record(abandoned_call(call))
            raise
        except AgentError as error:
            run.record(
                ev.AgentFailed(
                    number, name, agent.name, error.error_kind, str(error), error.usage, origin
                )
            )
            if name in run.state.migrants.ports:  # that was no answer: it is asked again
                self._ported.discard(origin)
            await asyncio.sleep(self._pause(error.retry_after))
            return ""
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
            )
        )
        answer = await self._see_through(number, parent, proposal)
        if answer:
            await asyncio.sleep(self._pause())
        else:
            self.prefetch.add_latency(asyncio.get_running_loop().time() - began)
        return answer

    def _brief(self, number: int, refused: str) -> tuple[Brief, int]:
        """Return a brief, and the origin of the change that it wants expressed here, 0 for none.

        One proposal is asked to do that, not all that are asked for at one time.
        """
        state, name = self.run.state, self.island.name
        brief = self.briefer.brief(state, name, number, refused)
        wanted = state.migrants.ports.get(name)
        if wanted is None or wanted.migrant.origin in self._ported:
            return replace(brief, port=None), 0
        self._ported.add(wanted.migrant.origin)
        return brief, wanted.migrant.origin

    async def _null(self, number: int, parent: str) -> Proposal | None:
        """Return the proposal that does nothing, where this one is to be such."""
        run = self.run
        if not nulls.is_null(run.state.run.seed, number, run.launch.ratchet.null_rate):
            return None
        head = await run.offload(run.branches.files, parent)
        null: Proposal | None = await run.offload(
            nulls.null_proposal, run.state.run.seed, number, head
        )
        return null

    async def _see_through(
        self, number: int, parent: str, proposal: Proposal, agent: str = ""
    ) -> str:
        """Make a proposal a candidate that waits, or refuse it and return why."""
        refused = await self._admit(number, parent, proposal, agent or self.island.agent)
        if refused is None:
            return ""
        rule, reason = refused.rule, refused.reason
        self.run.record(ev.ProposalRefused(number, self.island.name, rule, reason))
        return refused.text

    def _pause(self, asked: float = 0.0) -> float:
        island = self.run.state.islands[self.island.name]
        idle = max(island.agent_failures_in_a_row, island.refusals_in_a_row)
        return max(asked, min(PAUSE, 0.25 * 2.0 ** min(idle, 10)))

    async def _admit(self, number: int, parent: str, proposal: Proposal, agent: str) -> _No | None:
        """Make a proposal a candidate that waits; return what is against it, if anything is."""
        run, name = self.run, self.island.name
        files = await self._let_in(number, parent, proposal)
        if isinstance(files, Refused):
            return _No(files.rule, files.reason)
        message, when = self._message(number, proposal.hypothesis, agent), int(run.now())
        commit = await run.offload(run.branches.commit, parent, files, message, number, when)
        found = await self._look(number, commit)
        if not found.ok:
            changed = await run.offload(run.branches.diff, parent, commit)
            return _No("preflight", found.reason, f"{found.tail}\n\n{changed[:SHOWN]}".strip())
        added, removed = await run.offload(run.branches.numstat, parent, commit)
        run.record(ev.CandidateAdmitted(number, name, commit, parent, added, removed))
        return None

    async def _let_in(
        self, number: int, parent: str, proposal: Proposal
    ) -> dict[str, Entry | None] | Refused:
        run, launch = self.run, self.run.launch
        head = await run.offload(run.branches.files, parent)
        waiting = run.state.islands[self.island.name].queue
        null = any(each.null for each in waiting if each.number == number)
        limits = replace(launch.admission, allow_null=null or launch.admission.allow_null)
        genome = run.state.run.genome
        # off the loop: the worst that a proposal can do to a parser takes seconds
        answer = await run.offload(admit, proposal, head, genome, limits, launch.entry)
        return answer if isinstance(answer, Refused) else dict(answer.files)

    async def _look(self, number: int, commit: str) -> Preflight:
        """Export a candidate, so that no slice waits for it, and look at it beside the slices.

        One that cannot run leaves no export behind.
        """
        run, launch, opened = self.run, self.run.launch, self.run.state.run
        genome = launch.folder.genomes / commit
        await run.offload(run.branches.export, commit, genome)
        if not run.preflights.available:
            return Preflight(ok=True)
        trial = Trial(
            id=f"p{number}",
            task=opened.task,
            data=opened.data,
            commit=commit,
            seed=opened.seed,
            rung=opened.rungs[0],
            slice=self.island.slice,
            genome=str(genome),
            entry=launch.entry,
            scratch=str(launch.folder.scratch / "preflights"),
            sandbox=launch.sandbox,
        )
        found = await run.preflights.check(trial)
        if not found.ok:
            await run.offload(_remove, genome)
        return found

    async def _rebase(self, old: Experiment, onto: str) -> None:
        """Bring a candidate that waits to the head `onto`, or drop it."""
        run, name, number, stale = self.run, self.island.name, old.number, old.commit
        try:
            made = await self._made_anew(old, onto)
            if isinstance(made, _No):
                run.record(ev.CandidateDropped(number, name, made.line))
            else:
                added, removed = await run.offload(run.branches.numstat, onto, made)
                run.record(ev.CandidateRebased(number, name, made, onto, added, removed))
            await run.offload(_remove, run.launch.folder.genomes / stale)
        finally:
            self._taken.discard(number)
            run.notify(name)

    async def _made_anew(self, old: Experiment, onto: str) -> str | _No:
        run, branches = self.run, self.run.branches
        if run.state.quarantines.tainted(old.number):
            return _No("quarantine", REASON)
        files = await run.offload(branches.apply_change, old.parent, old.commit, onto)
        if isinstance(files, Conflict):
            where = ", ".join(files.paths)
            return _No("conflict", f"the head has moved and differs in the same lines of {where}")
        if not files:
            return _No("nothing", "the head has moved and holds this change already")
        answer = await self._let_in(old.number, onto, Proposal(old.hypothesis, files))
        if isinstance(answer, Refused):
            return _No(answer.rule, f"on the head as it is now: {answer.reason}")
        message, name = (
            self._message(old.number, old.hypothesis, self.island.agent),
            f"rebased/{old.number}/{onto}",
        )
        # with the proposal's own time, so that a coordinator that comes after makes the same commit
        when = int(old.received)
        commit: str = await run.offload(
            branches.commit_under_ref, name, onto, answer, message, when
        )
        found = await self._look(old.number, commit)
        return commit if found.ok else _No("preflight", found.reason)

    def _message(self, number: int, hypothesis: str, agent: str) -> str:
        subject, _, rest = hypothesis.strip().partition("\n")
        body = f"{rest.strip()}\n\n" if rest.strip() else ""
        values: trailers.Values = {
            "Run": self.run.state.run.run,
            "Island": self.island.name,
            "Experiment": number,
            "Agent": agent,
        }
        return f"{subject.strip()[:100] or 'Change'}\n\n{body}{trailers.write(values)}"


def abandoned_call(call: ev.AgentCallStarted) -> ev.AgentFailed:
    """Return the event that settles a call of which nothing more will be heard: at its worst."""
    reason = "the coordinator stopped before it answered"
    return ev.AgentFailed(call.experiment, call.island, call.agent, "stopped", reason, call.usage)


@dataclass(frozen=True, slots=True)
class _No:
    """What is against a candidate: the rule, the reason in a line, and more for its agent."""

    rule: str
    reason: str
    more: str = ""

    @property
    def line(self) -> str:
        return f"{self.rule}: {self.reason}"

    @property
    def text(self) -> str:
        return f"{self.line}\n{self.more}".rstrip()


def _remove(genome: Path) -> None:
    shutil.rmtree(genome, ignore_errors=True)
