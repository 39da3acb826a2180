"""One island's loop: decide the next step, carry it out, record it, repeat.

Steps are decided in islands/scheduling/ from the state, a fold of the ledger, and carried out here.
swarm/coordinator/proposer.py runs beside the loop and keeps candidates ready.

Not covered: a slice is leased for a whole trial, so one trial is not scored while the next one
trains (the sandboxes of both are prepared meanwhile, see harness/sandbox/boot/pool.py). On a GPU
the two would share its clock, and CPU slices leave no core free; the outcome's `seconds` say how
long scoring took.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeAlias

from harness.contract import Rung, SetupError
from islands import events as ev
from islands.genome.admission import printable_line
from islands.migration import CONFLICT, PRESENT
from islands.ratchet.acceptance import Decision
from islands.records import CheckRequest, Conflict, Migrant, Proposal, RunLimit, TrialRequest
from islands.scheduling.island_steps import anchor, next_step
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
from islands.scheduling.steps import (
    ApplyMigrant,
    CatchUp,
    Conclude,
    DropMigrant,
    EndFreshCheck,
    FailExperiment,
    Idle,
    OfferMigrant,
    Paused,
    ReassignSlice,
    RecordEvent,
    RestartHead,
    Step,
    Wait,
)
from islands.stacking.check import Assemble, EndCheck
from islands.state.run_state import State
from swarm.coordinator import run_actions
from swarm.coordinator.candidates import MIGRATION
from swarm.coordinator.launch_plan import IslandPlan
from swarm.coordinator.proposer import Proposer
from swarm.coordinator.run import Run
from swarm.coordinator.trial_runner import TrialRunner
from swarm.coordinator.waits import Waits
from swarm.project.missing_package import missing_package_fix

NextRunStep: TypeAlias = Callable[[State, str], RunStep | None]
"""Returns an island's next run-level step, None if there is none."""

NextStep: TypeAlias = Callable[[], Step | RunStep | None]
"""Returns the island's next step as of now."""


@dataclass(slots=True)
class IslandLoop:
    """The loop of one island over the run that it shares with the others."""

    run: Run
    island: IslandPlan
    proposer: Proposer
    trials: TrialRunner = field(init=False)
    waits: Waits = field(init=False)

    def __post_init__(self) -> None:
        self.trials = TrialRunner(self.run, self.island.name)
        self.waits = Waits(self.run, self.proposer)

    async def run_experiments(self) -> None:
        """Run experiments and run-level steps until a limit is reached, then cancel the proposer.

        Raises SetupError or HarnessError where the run cannot continue.
        """
        limit: RunLimit | None = None
        async with asyncio.TaskGroup() as group:
            proposing = group.create_task(self.proposer.run_forever())
            while limit is None:
                limit = await self._execute(self._next(), self._next)
            proposing.cancel()
        self.run.stop(limit)

    async def run_steps_only(self, next_of: NextRunStep) -> None:
        """Execute only the run-level steps that `next_of` names, until no island has one."""
        run, limit = self.run, None
        next_ = partial(next_of, run.state, self.island.name)
        while limit is None:
            step = next_()
            if step is not None:
                limit = await self._execute(step, next_)
            elif run.state.running or any(next_of(run.state, i.name) for i in run.launch.islands):
                # steps of other islands may lead to one of ours
                limit = await self.waits.for_change()
            else:
                return
        run.stop(limit)

    def _next(self) -> Step | RunStep:
        """Return the next step: run-level steps come before another experiment."""
        run, name = self.run, self.island.name
        step = next_step(run.state, name, run.launch.ratchet, run.launch.migration)
        screens = isinstance(step, TrialRequest) and step.purpose == "screen"
        free = screens or isinstance(step, OfferMigrant | Idle)
        if run.state.islands[name].experiment is not None or not free:
            return step
        run_step = self._next_run_step()
        if (
            run_step is None
            and run.limits.reached(self._rung) is None
            and run_actions.trials_reserved(run)
        ):
            return Wait()  # the trials that are left are reserved for the stack check
        return run_step or step

    def _next_run_step(self) -> RunStep | None:
        """Return the next run-level step that fits into the launch's limits."""
        run, launch = self.run, self.run.launch
        step = next_run_step(run.state, self.island.name, launch.promotion, launch.stacking)
        if isinstance(step, TrialRequest) and self._too_long(step):
            step = None
        if isinstance(step, PromoteStep) and not run_actions.promotion_fits(run, step.request):
            step = None
        if isinstance(step, StackStep) and not run_actions.stack_check_fits(run, step.parts):
            step = None
        return step or run_actions.last_stack_check(run)

    def _too_long(self, step: TrialRequest) -> bool:
        """Return whether a trial would not end in time, though an experiment's would."""
        limits, rung = self.run.limits, self.run.state.run.rungs[step.rung]
        return limits.reached(rung) is not None and limits.reached(self._rung) is None

    @property
    def _rung(self) -> Rung:
        return self.run.state.run.rungs[0]

    async def _execute(self, step: Step | RunStep, next_: NextStep) -> RunLimit | None:
        """Execute `step`; return the limit that was reached, if any.

        A trial waits for its slice first. It is run only if `next_` still names it then, since
        another island may have run it meanwhile.
        """
        match step:
            case TrialRequest() | CheckRequest():
                return await self._use_slice(step, next_)
            case OfferMigrant(parent, migrant):
                return self._offer_migrant(parent, migrant)
            case ApplyMigrant(offered):
                await self._apply_migrant(offered)
            case CatchUp(event) | RestartHead(event):
                self.run.record(event)
                await self.run.branch_sync.advance()
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
                await run_actions.execute(self.run, step)
            case Conclude() | DropMigrant():
                await self._end(step)
            case Idle():
                return await self.waits.for_candidate()
            case Wait() | Paused() | RecordEvent() | ReassignSlice() | EndFreshCheck():
                return await self._unblock(step)
            case FailExperiment(reason):
                fix = missing_package_fix(self.run.state.run.task, reason)
                raise SetupError(
                    f"the seed genome fails its own baseline: {reason}{fix and f' ({fix})'};"
                    " fix and commit it, then `swarm launch --new`"
                )
        return None

    async def _unblock(
        self, step: Wait | Paused | RecordEvent | ReassignSlice | EndFreshCheck
    ) -> RunLimit | None:
        """Execute a step without which the island cannot measure."""
        match step:
            case RecordEvent(event):
                self._record_slice_event(event)
            case EndFreshCheck(checked):
                self._end_fresh_check(checked)
            case ReassignSlice():
                return await self._reassign()
            case Wait():
                return await self.waits.for_change()
            case Paused():
                return self.run.limits.reached(self._rung) or await self.waits.for_change()
        return None

    def _offer_migrant(self, parent: str, migrant: Migrant) -> RunLimit | None:
        run = self.run
        limit = run.limits.reached(self._rung)
        if limit is None:
            run.record(ev.MigrantOffered(run.next_number(), self.island.name, parent, migrant))
        return limit

    async def _apply_migrant(self, offered: ev.MigrantOffered) -> None:
        """Make a kept change of another island a candidate here, or record why not."""
        run, migrant, number = self.run, offered.migrant, offered.experiment
        apply = run.branches.apply_change
        files = await run.offload(apply, migrant.parent, migrant.commit, offered.parent)
        if isinstance(files, Conflict):
            paths = ", ".join(map(printable_line, files.paths))
            run.record(ev.ProposalRefused(number, offered.island, CONFLICT, f"in {paths}"))
        elif not files:
            reason = "the head holds this change already"
            run.record(ev.ProposalRefused(number, offered.island, PRESENT, reason))
        else:
            proposal = Proposal(migrant.hypothesis, files)
            await self.proposer.candidates.admit(number, offered.parent, proposal, MIGRATION)

    def _record_slice_event(self, event: ev.SliceQuarantined | ev.SliceReleased) -> None:
        """Record it and wake all proposers: trials that it voids may have to be run again."""
        self.run.record(event)
        for island in self.run.launch.islands:
            self.run.changes.notify(island.name)

    async def _reassign(self) -> RunLimit | None:
        """Move the island to a steady slice; if there is none, probe the next one in turn.

        Raises SetupError where every slice has had all its probes.
        """
        run, name, slices = self.run, self.island.name, self.run.slices
        slice_ = slices.fallback(name)
        if slice_ is not None:
            cause = run.state.sentinels.quarantine_reason(run.state.islands[name].slice.name)
            run.record(ev.IslandReassigned(name, slice_, cause or "its home slice is steady again"))
            return None
        if slices.stuck_reason:
            raise SetupError(
                f"no slice measures steadily: {slices.stuck_reason}; free them of other work and"
                " launch again"
            )
        time = asyncio.get_running_loop().time
        turn = slices.next_probe(time())
        if turn is None or turn.wait_s > 0:
            return await self.waits.for_change(turn.wait_s if turn else None)
        probe = anchor(run.state, turn.slice)

        def still_due() -> Step | None:
            """Return the probe unless another island has run it, or a slice is steady again."""
            return None if slices.fallback(name) or slices.next_probe(time()) != turn else probe

        limit = await self._measure(probe, still_due)
        slices.probed(turn.slice, time())
        return limit

    async def _measure(self, step: TrialRequest, next_: NextStep) -> RunLimit | None:
        run, start = self.run, asyncio.get_running_loop().time()
        state, name = run.state, self.island.name
        slice_ = run.slices.by_name[step.slice] if step.slice else run.slices.current(name)
        if state.sentinels.quarantine_reason(slice_.name) and step.purpose != "sentinel":
            return await self._reassign()
        async with run.turns(slice_.name).turn(name, urgent=not step.experiment):
            if next_() != step:
                return None  # another island ran it while this one waited for the slice
            limit = run.limits.reached(state.run.rungs[step.rung])
            if limit is not None:
                await self._close_early(limit)
                return limit
            if (limit := await self.trials.execute(step, slice_)) is not None:
                return limit
            run.record_quarantines()
            if (event := state.sentinels.next_event()) is not None:
                self._record_slice_event(event)
        await run.branch_sync.advance()
        self.proposer.prefetch.add_trial(asyncio.get_running_loop().time() - start)
        if step.experiment and state.islands[name].experiment is None:
            self.trials.discard_export(step.commit)  # the experiment failed: no more trials of it
        return None

    async def _close_early(self, limit: RunLimit) -> None:
        """End the open stack check, unless a person stopped the launch: the next one goes on."""
        if limit != "person":
            await run_actions.close_early(self.run)

    async def _use_slice(
        self, step: TrialRequest | CheckRequest, next_: NextStep
    ) -> RunLimit | None:
        if isinstance(step, CheckRequest):
            return await self._check(step, next_)
        return await self._measure(step, next_)

    async def _check(self, step: CheckRequest, next_: NextStep) -> RunLimit | None:
        """Run the problem's checks on the island's slice, unless another island did meanwhile."""
        run, slice_ = self.run, self.run.slices.current(self.island.name)
        limit = run.limits.reached(self._rung)
        if limit is not None:
            await self._close_early(limit)
            return limit
        try:
            async with (
                asyncio.timeout_at(run.limits.deadline),
                run.lock(f"checks of {step.commit}"),
                run.turns(slice_.name).turn(self.island.name, urgent=not step.experiment),
            ):
                if next_() == step:
                    await self.trials.check(step, slice_)
        except TimeoutError:
            return run.limits.reached(self._rung)  # none where a person gave it more minutes
        if step.experiment and run.state.islands[self.island.name].experiment is None:
            self.trials.discard_export(step.commit)
        return None

    async def _end(self, step: Conclude | DropMigrant) -> None:
        """End the island's experiment."""
        match step:
            case Conclude(experiment, decision):
                await self._conclude(experiment, decision)
            case DropMigrant(open_, reason):
                self.run.record(ev.CandidateDropped(open_.number, self.island.name, reason))
                self.trials.discard_export(open_.commit)

    def _end_fresh_check(self, event: ev.FreshChecked) -> None:
        self.run.record(event)
        self.run.record_quarantines()
        if not event.ok:
            self.trials.discard_export(event.commit)

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
                decision.simpler,
            )
        )
        if kept and not experiment.null:
            await run.branch_sync.advance()
        else:
            self.trials.discard_export(experiment.commit)
