"""One island: take the next step of the plan, do it, record it, again.

What to do is decided in islands/plan.py from the folded ledger; here it is done.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from harness.contract import HarnessError, Outcome, Rung, SetupError, Trial
from islands import events as ev
from islands import nulls
from islands.admit import Refused, admit, shown
from islands.errands import Errand, Promote, Stack, next_errand
from islands.migration import CONFLICT, PRESENT
from islands.plan import Ask, Bring, Broken, Conclude, Measure, Step, Take, Wait, next_step
from islands.ratchet import Decision
from islands.records import NULL, Conflict, Migrant, Proposal, RunLimit
from islands.state import State
from swarm import errands
from swarm.agents.base import AgentError
from swarm.agents.llm.budget import BudgetError
from swarm.brief import Briefer
from swarm.executor import VoidError
from swarm.parts import IslandPlan
from swarm.run import Run

VOIDS = 5
"""Voided trials in a row after which the harness, not luck, is to blame."""

MIGRATION = "migration"
"""Who proposed a migrant, as its commit says."""

PAUSE = 60.0
"""Seconds that an island waits at most after its agent failed or was refused again and again."""


@dataclass(slots=True)
class Loop:
    """One island's loop over the run that it shares with the others."""

    run: Run
    briefer: Briefer
    island: IslandPlan
    refused: str = ""

    async def go(self) -> None:
        """Go on until a bound is reached. Raises SetupError or HarnessError where we must stop."""
        limit: RunLimit | None = None
        while limit is None:
            launch = self.run.launch
            step = next_step(self.run.state, self.island.name, launch.rule, launch.migration)
            errand = self._errand() if isinstance(step, Ask | Take) else None
            limit = await (self._do(step) if errand is None else self._run_errand(errand))
        self.run.stop(limit)

    async def lend(self, wanted: Callable[[State, str], Errand | None]) -> None:
        """Do nothing but the run-level work that `wanted` names, until there is none.

        Where others still do some of it, wait for them: more may follow from it.
        """
        run, limit = self.run, None
        while limit is None:
            errand = wanted(run.state, self.island.name)
            if errand is not None:
                limit = await self._run_errand(errand)
            elif run.state.running or any(
                wanted(run.state, island.name) for island in run.launch.islands
            ):
                await run.changed()
            else:
                return
        run.stop(limit)

    def _errand(self) -> Errand | None:
        """Return run-level work that this island may do before it asks its agent again."""
        run = self.run
        launch = run.launch
        errand = next_errand(run.state, self.island.name, launch.promotion, launch.stacking)
        if isinstance(errand, Promote) and not errands.affordable(run, errand.wish):
            errand = None
        if isinstance(errand, Stack) and not errands.stackable(run, errand.parts):
            errand = None
        return errand or errands.last_stack(run)

    async def _run_errand(self, errand: Errand) -> RunLimit | None:
        if isinstance(errand, Measure):
            return await self._measure(errand)
        await errands.do(self.run, errand)
        return None

    @property
    def _rung(self) -> Rung:
        return self.run.state.run.rungs[0]

    async def _do(self, step: Step) -> RunLimit | None:
        match step:
            case Ask(parent):
                limit = self.run.bound(self._rung)
                if limit is None and errands.reserved(self.run):
                    return await self._wait()
                return limit or await self._ask(parent)
            case Take(parent, migrant):
                return self._take(parent, migrant)
            case Bring(offered):
                await self._bring(offered)
            case Measure():
                return await self._measure(step)
            case Conclude(experiment, decision):
                await self._conclude(experiment, decision)
            case Wait():
                return await self._wait()
            case Broken(reason):
                raise SetupError(f"the seed genome fails its own baseline: {reason}")
        return None

    async def _wait(self) -> RunLimit | None:
        if self.run.limit is None:  # else nobody is left to run what we wait for
            await self.run.changed()
        return self.run.limit

    async def _ask(self, parent: str) -> RunLimit | None:
        run, name = self.run, self.island.name
        number, agent = run.allot(), run.agents[name]
        null = await self._null(number, parent)
        if null is not None:
            run.record(ev.ProposalReceived(number, name, NULL, parent, null.hypothesis))
            if await self._admit(number, parent, null, self.island.agent):
                await asyncio.sleep(self._pause())
            return None
        brief = self.briefer.brief(run.state, name, number, self.refused)
        port = run.state.migrants.ports.get(name)
        origin = port.migrant.origin if port is not None else 0
        try:
            proposal = await agent.propose(brief)
        except BudgetError:
            return "usd"
        except AgentError as error:
            failed = ev.AgentFailed(
                number, name, agent.name, error.trouble, str(error), error.usage, origin
            )
            run.record(failed)
            await asyncio.sleep(self._pause(error.retry_after))
            return None
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
        self.refused = await self._admit(number, parent, proposal, self.island.agent)
        if self.refused:
            await asyncio.sleep(self._pause())
        return None

    async def _null(self, number: int, parent: str) -> Proposal | None:
        """Return the proposal that does nothing, where this one is to be such."""
        run = self.run
        if not nulls.is_null(run.state.run.seed, number, run.launch.rule.nulls):
            return None
        head = await run.offload(run.branches.files, parent)
        null: Proposal | None = await run.offload(nulls.propose, run.state.run.seed, number, head)
        return null

    def _take(self, parent: str, migrant: Migrant) -> RunLimit | None:
        run = self.run
        limit = run.bound(self._rung)
        if limit is None:
            run.record(ev.MigrantOffered(run.allot(), self.island.name, parent, migrant))
        return limit

    async def _bring(self, offered: ev.MigrantOffered) -> None:
        run, migrant, number = self.run, offered.migrant, offered.experiment
        apply = run.branches.apply_change
        files = await run.offload(apply, migrant.parent, migrant.commit, offered.parent)
        if isinstance(files, Conflict):
            where = ", ".join(map(shown, files.paths))
            run.record(ev.ProposalRefused(number, offered.island, CONFLICT, f"in {where}"))
        elif not files:
            reason = "the head holds this change already"
            run.record(ev.ProposalRefused(number, offered.island, PRESENT, reason))
        else:
            proposal = Proposal(migrant.hypothesis, files)
            await self._admit(number, offered.parent, proposal, MIGRATION)

    def _pause(self, asked: float = 0.0) -> float:
        island = self.run.state.islands[self.island.name]
        idle = max(island.agent_failures_in_a_row, island.refusals_in_a_row)
        return max(asked, min(PAUSE, 0.25 * 2.0 ** min(idle, 10)))

    async def _admit(self, number: int, parent: str, proposal: Proposal, agent: str) -> str:
        """Let a proposal in or refuse it, and return the reason if it was refused."""
        run, name = self.run, self.island.name
        head = await run.offload(run.branches.files, parent)
        genome, launch = run.state.run.genome, run.launch
        open_ = run.state.islands[name].experiment
        null = open_ is not None and open_.null
        limits = replace(launch.admission, null=null or launch.admission.null)
        # off the loop: the worst that a proposal can do to a parser takes seconds
        answer = await run.offload(admit, proposal, head, genome, limits, launch.entry)
        if isinstance(answer, Refused):
            run.record(ev.ProposalRefused(number, name, answer.rule, answer.reason))
            return f"{answer.rule}: {answer.reason}"
        message = _message(run.state.run.run, name, number, agent, proposal)
        commit = await run.offload(
            run.branches.commit, parent, answer.files, message, number, int(run.now())
        )
        run.record(admitted(run, number, name, commit, parent))
        return ""

    async def _measure(self, step: Measure) -> RunLimit | None:
        run = self.run
        async with run.lease(self.island.slice.name):
            limit = run.bound(run.state.run.rungs[step.rung])
            if limit is not None:
                await errands.close_early(run)
                return limit
            trial = self._trial(step)
            run.record(
                ev.TrialStarted(
                    trial.id,
                    step.experiment,
                    self.island.name,
                    step.commit,
                    step.purpose,
                    step.seed,
                    step.rung,
                    trial.slice.name,
                    step.part,
                    step.check,
                    step.share,
                )
            )
            try:
                await run.offload(run.branches.export, step.commit, Path(trial.genome))
                run.record(ev.TrialEnded(trial.id, self._honest(await run.executor.run(trial))))
            except VoidError as error:
                run.record(ev.TrialVoided(trial.id, str(error)))
                if run.state.voids_in_a_row >= VOIDS:
                    raise HarnessError(f"{VOIDS} trials in a row were void: {error}") from error
            run.quarantine()
        await run.move_branches()
        if step.experiment and run.state.islands[self.island.name].experiment is None:
            self._forget(step.commit)  # it failed, and will not be measured again
        return None

    def _trial(self, step: Measure) -> Trial:
        launch, run = self.run.launch, self.run.state.run
        rung = run.rungs[step.rung]
        return Trial(
            id=f"t{self.run.state.started + 1}",
            task=run.task,
            data=run.data,
            commit=step.commit,
            seed=step.seed,
            rung=replace(rung, seconds=rung.seconds * step.share),
            slice=self.island.slice,
            genome=str(launch.scratch / "genomes" / step.commit),
            entry=launch.entry,
            scratch=str(launch.scratch / "trials"),
            tier=launch.tier,
            part=step.part,
            audit=step.audit,
        )

    def _honest(self, outcome: Outcome) -> Outcome:
        wanted = self.run.state.run.harness
        if outcome.harness != wanted:
            raise HarnessError(f"scored by harness {outcome.harness}, the run's is {wanted}")
        return outcome

    async def _conclude(self, number: int, decision: Decision) -> None:
        run, name = self.run, self.island.name
        experiment = run.state.islands[name].experiment
        if experiment is None:
            raise ValueError(f"experiment {number} is not open on island {name}")
        kept = decision.verdict == "keep"
        verdict: Literal["keep", "discard"] = "keep" if kept else "discard"
        run.record(ev.VerdictReached(number, name, verdict, decision.reason, decision.gain))
        if kept and not experiment.null:
            await run.move_branches()
        else:
            self._forget(experiment.commit)

    def _forget(self, commit: str) -> None:
        shutil.rmtree(self.run.launch.scratch / "genomes" / commit, ignore_errors=True)


def admitted(run: Run, number: int, island: str, commit: str, parent: str) -> ev.Event:
    """Return the event that a proposal became `commit` on `parent`."""
    added, removed = run.branches.numstat(parent, commit)
    return ev.CandidateAdmitted(number, island, commit, parent, added, removed)


def _message(run: str, island: str, number: int, agent: str, proposal: Proposal) -> str:
    subject, _, rest = proposal.hypothesis.strip().partition("\n")
    body = f"{rest.strip()}\n\n" if rest.strip() else ""
    return (
        f"{subject.strip()[:100] or 'Change'}\n\n{body}Swarm-Run: {run}\nSwarm-Island: {island}\n"
        f"Swarm-Experiment: {number}\nSwarm-Agent: {agent}\n"
    )
