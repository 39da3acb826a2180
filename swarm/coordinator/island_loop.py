"""One island's measuring: take the next step of the plan, do it, record it, again.

What to do is decided in islands/scheduling/island_steps.py from the folded ledger; here it is
done. That candidates
are ready when the slice is, swarm/coordinator/proposer.py sees to beside it.

Not covered: a slice is leased for a whole trial, so the scoring of one is not under way while the
next one trains (the boxes of both are made meanwhile, see harness/sandbox/boot/pool.py). On a GPU
both
would share its clock, and on CPU slices every core is some slice's; the scorer's time is in the
outcome's `seconds`.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

from harness.contract import HarnessError, Outcome, Rung, SetupError, Slice, Trial
from islands import events as ev
from islands.genome.admission import printable_line
from islands.migration import CONFLICT, PRESENT
from islands.ratchet.acceptance import Decision
from islands.records import Conflict, Migrant, Proposal, RunLimit, TrialRequest
from islands.scheduling.island_steps import (
    ApplyMigrant,
    CatchUp,
    Conclude,
    FailExperiment,
    Idle,
    OfferMigrant,
    ReassignSlice,
    RecordEvent,
    Step,
    Wait,
    anchor,
    anchor_runs,
    next_step,
)
from islands.scheduling.run_steps import (
    BuildConsensus,
    DraftConsensus,
    PromoteStep,
    RunStep,
    ScoreSealed,
    SettleMerges,
    StackStep,
    next_run_step,
)
from islands.stacking.check import Assemble, EndCheck
from islands.state.run_state import State
from swarm.coordinator import run_actions as errands
from swarm.coordinator.launch_plan import IslandPlan
from swarm.coordinator.proposer import Proposer
from swarm.coordinator.run import Run
from swarm.executors.base import VoidError

Again: TypeAlias = Callable[[], Step | RunStep | None]
"""Says what comes next, once more: others may have done it meanwhile."""

VOIDS = 5
"""Voided trials in a row after which the harness, not luck, is to blame."""


@dataclass(slots=True)
class IslandLoop:
    """One island's loop over the run that it shares with the others."""

    run: Run
    asking: Proposer
    island: IslandPlan
    _gone: list[Path] = field(default_factory=list)

    async def run_experiments(self) -> None:
        """Go on until a bound is reached. Raises SetupError or HarnessError where we must stop.

        What is asked for beyond that is cancelled: nothing could be measured of it.
        """
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(self.asking.run_forever())
            limit = await self._go()
            asking.cancel()
        self.run.stop(limit)

    async def _go(self) -> RunLimit:
        limit: RunLimit | None = None
        while limit is None:
            limit = await self._do(self._next(), self._next)
        return limit

    async def run_steps_only(self, wanted: Callable[[State, str], RunStep | None]) -> None:
        """Do nothing but the run-level work that `wanted` names, until there is none.

        Where others still do some of it, wait for them: more may follow from it.
        """
        run, limit = self.run, None
        mine = partial(wanted, run.state, self.island.name)
        while limit is None:
            errand = mine()
            if errand is not None:
                limit = await self._do(errand, mine)
            elif run.state.running or any(
                wanted(run.state, island.name) for island in run.launch.islands
            ):
                await run.wait_changed()
            else:
                return
        run.stop(limit)

    def _next(self) -> Step | RunStep:
        """Return what comes next: run-level work, if any, before another experiment is begun."""
        run, name = self.run, self.island.name
        step = next_step(run.state, name, run.launch.ratchet, run.launch.migration)
        begins = isinstance(step, TrialRequest) and step.purpose == "screen"
        idle = begins or isinstance(step, OfferMigrant | Idle)
        between = run.state.islands[name].experiment is None and idle
        if not between:
            return step
        errand = self._errand()
        if errand is None and run.limit_reached(self._rung) is None and errands.reserved(run):
            return Wait()  # what trials are left are for the stack check
        return errand or step

    def _errand(self) -> RunStep | None:
        """Return run-level work that this island may do before it begins another experiment."""
        run = self.run
        launch = run.launch
        errand = next_run_step(run.state, self.island.name, launch.promotion, launch.stacking)
        if isinstance(errand, PromoteStep) and not errands.affordable(run, errand.wish):
            errand = None
        if isinstance(errand, StackStep) and not errands.stackable(run, errand.parts):
            errand = None
        return errand or errands.last_stack(run)

    @property
    def _rung(self) -> Rung:
        return self.run.state.run.rungs[0]

    async def _do(self, step: Step | RunStep, again: Again) -> RunLimit | None:
        """Do `step`, if it is what `again` still says once a trial has its slice."""
        run = self.run
        match step:
            case OfferMigrant(parent, migrant):
                return self._take(parent, migrant)
            case ApplyMigrant(offered):
                await self._bring(offered)
            case CatchUp(event):
                run.record(event)
                await run.move_branches()
            case TrialRequest():
                return await self._measure(step, again)
            case (
                StackStep()
                | Assemble()
                | EndCheck()
                | PromoteStep()
                | SettleMerges()
                | DraftConsensus()
                | BuildConsensus()
                | ScoreSealed()
            ):
                await errands.do(run, step)
            case Conclude(experiment, decision):
                await self._conclude(experiment, decision)
            case Idle():
                return await self._idle()
            case Wait() | RecordEvent() | ReassignSlice():
                return await self._stand(step, again)
            case FailExperiment(reason):
                raise SetupError(f"the seed genome fails its own baseline: {reason}")
        return None

    async def _stand(
        self, step: Wait | RecordEvent | ReassignSlice, again: Again
    ) -> RunLimit | None:
        """Do what has to be done before the island can go on."""
        match step:
            case RecordEvent(event):
                self._note(event)
            case ReassignSlice(probe):
                return await self._move(probe, again)
            case Wait():
                return await self._wait()
        return None

    async def _wait(self) -> RunLimit | None:
        if self.run.limit is None:  # else nobody is left to run what we wait for
            await self.run.wait_changed()
        return self.run.limit

    def _take(self, parent: str, migrant: Migrant) -> RunLimit | None:
        run = self.run
        limit = run.limit_reached(self._rung)
        if limit is None:
            run.record(ev.MigrantOffered(run.next_number(), self.island.name, parent, migrant))
        return limit

    async def _bring(self, offered: ev.MigrantOffered) -> None:
        run, migrant, number = self.run, offered.migrant, offered.experiment
        apply = run.branches.apply_change
        files = await run.offload(apply, migrant.parent, migrant.commit, offered.parent)
        if isinstance(files, Conflict):
            where = ", ".join(map(printable_line, files.paths))
            run.record(ev.ProposalRefused(number, offered.island, CONFLICT, f"in {where}"))
        elif not files:
            reason = "the head holds this change already"
            run.record(ev.ProposalRefused(number, offered.island, PRESENT, reason))
        else:
            await self.asking.bring(number, offered.parent, Proposal(migrant.hypothesis, files))

    async def _idle(self) -> RunLimit | None:
        """Wait for a candidate as long as one can come and could still be measured."""
        limit = self.run.limit_reached(self._rung)
        if limit is None and not self.asking.busy:
            limit = self.asking.limit
        if limit is not None:
            return limit
        try:
            async with asyncio.timeout_at(self.run.last_start(self._rung)):
                await self.run.wait_changed()
        except TimeoutError:
            return "minutes"
        return None

    def _note(self, news: ev.SliceQuarantined | ev.SliceReleased) -> None:
        """Record what follows for a slice; what is void may be asked for and measured again."""
        self.run.record(news)
        for island in self.run.launch.islands:
            self.run.notify(island.name)

    async def _move(self, probe: TrialRequest, again: Again) -> RunLimit | None:
        """Go where trials can be run; where none can, see whether a slice has come back."""
        run, name, known = self.run, self.island.name, self.run.state.sentinels
        refuge = run.fallback_slice(name)
        if refuge is not None:
            left = known.apart(run.state.islands[name].slice.name)
            run.record(ev.IslandReassigned(name, refuge, left or "its home is well again"))
            return None
        if not anchor_runs(run.state, probe.slice) and not known.hopeless(probe.slice):
            return await self._measure(probe, again)
        if run.stuck_reason:
            raise SetupError(
                f"no slice measures steadily: {run.stuck_reason}; free them, launch again"
            )
        return await self._wait()

    async def _measure(self, step: TrialRequest, again: Again) -> RunLimit | None:
        run, began = self.run, asyncio.get_running_loop().time()
        where, known = run.slice(self.island.name, step.slice), run.state.sentinels
        if known.apart(where.name) and step.purpose != "sentinel":
            probe = anchor(run.state, where.name)
            return await self._move(probe, lambda: probe)
        async with run.lease(where.name):
            if again() not in (step, ReassignSlice(step)):
                return None  # done by another island while we waited for the slice
            limit = run.limit_reached(run.state.run.rungs[step.rung])
            if limit is not None:
                await errands.close_early(run)
                return limit
            trial = self._trial(step, where)
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
                    step.split,
                    step.check_number,
                    step.share,
                )
            )
            started = run.state.running[trial.id]
            try:
                await run.offload(run.branches.export, step.commit, Path(trial.genome))
                outcome = self._honest(await self._run(trial))
                if step.purpose != "sentinel" and known.apart(where.name):
                    raise VoidError(f"slice {where.name} was set apart meanwhile")  # noqa: TRY301
                run.record(ev.TrialEnded(started, outcome))
            except VoidError as error:
                run.record(ev.TrialVoided(started, str(error)))
                if run.state.voids_in_a_row >= VOIDS:
                    raise HarnessError(f"{VOIDS} trials in a row were void: {error}") from error
            run.record_quarantines()
            if (news := known.news()) is not None:
                self._note(news)
        await run.move_branches()
        self.asking.prefetch.add_trial(asyncio.get_running_loop().time() - began)
        if step.experiment and run.state.islands[self.island.name].experiment is None:
            self._forget(step.commit)  # it failed, and will not be measured again
        return None

    def _trial(self, step: TrialRequest, where: Slice) -> Trial:
        launch, run = self.run.launch, self.run.state.run
        rung = run.rungs[step.rung]
        return Trial(
            id=f"t{self.run.state.trials_started + 1}",
            task=run.task,
            data=run.data,
            commit=step.commit,
            seed=step.seed,
            rung=replace(rung, seconds=rung.seconds * step.share),
            slice=where,
            genome=str(launch.folder.genomes / step.commit),
            entry=launch.entry,
            scratch=str(launch.folder.scratch / "trials"),
            sandbox=launch.sandbox,
            split=step.split,
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
        run.record(
            ev.VerdictReached(
                number,
                name,
                experiment.commit,
                experiment.parent,
                verdict,
                decision.reason,
                decision.gain,
                experiment.lines,
                experiment.origin,
                experiment.null,
            )
        )
        if kept and not experiment.null:
            await run.move_branches()
        else:
            self._forget(experiment.commit)

    def _forget(self, commit: str) -> None:
        """Put an export out of everybody's way; it is removed while the next trial runs."""
        genomes = self.run.launch.folder.genomes
        gone = genomes / f".gone-{self.island.name}-{commit}"
        with suppress(OSError):  # never exported, or put there before: scratch goes in the end
            (genomes / commit).rename(gone)
            self._gone.append(gone)

    async def _run(self, trial: Trial) -> Outcome:
        """Run a trial; meanwhile remove what is left over, which takes a busy disk 13 ms."""
        outcome, _ = await asyncio.gather(self.run.executor.run(trial), self._tidy())
        return outcome

    async def _tidy(self) -> None:
        while self._gone:
            await self.run.offload(partial(shutil.rmtree, ignore_errors=True), self._gone.pop())
