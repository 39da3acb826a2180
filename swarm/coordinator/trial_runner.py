"""Runs one trial on a leased slice and records how it started and ended."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from harness.contract import CheckResult, Failure, HarnessError, Outcome, Slice, Trial
from islands import events as ev
from islands.records import CheckRequest, RunLimit, TrialRequest
from islands.state.voids import CHECKS_VOID, MAX_VOIDS_OF_BASE, TRIALS_VOID, pause_after
from swarm.agents.llm.budget import BudgetError
from swarm.coordinator.pauses import pause
from swarm.coordinator.run import Run
from swarm.executors.base import VoidError

MAX_VOID_CHECKS = 5
"""Times that a commit's checks may be void in a row."""


@dataclass(slots=True)
class TrialRunner:
    """Runs the trials of one island; the caller holds the slice's lock."""

    run: Run
    island: str
    _discarded: list[Path] = field(default_factory=list)
    _checks: int = 0

    async def execute(self, request: TrialRequest, slice_: Slice) -> RunLimit | None:
        """Run the trial and record its outcome, or that it was void.

        Returns the limit that left no room for a call of it to the problem's model. Raises
        HarnessError if the outcome is of another harness than the run's, or if the machine or the
        harness is to blame for void trials.
        """
        run, trial = self.run, self._trial(request, slice_)
        run.record(
            ev.TrialStarted(
                trial.id,
                request.experiment,
                self.island,
                request.commit,
                request.purpose,
                request.seed,
                request.rung,
                slice_.name,
                request.split,
                request.check_number,
                request.share,
                request.fresh,
            )
        )
        started = run.state.running[trial.id]
        try:
            run.record(ev.TrialEnded(started, await self._outcome(trial, request)))
        except VoidError as error:
            await self._void(started, trial, error)
        except BudgetError as error:
            run.record(ev.TrialVoided(started, f"limits.{error.limit}: {error}", "model"))
            return error.limit
        return None

    async def check(self, request: CheckRequest, slice_: Slice) -> None:
        """Run the problem's checks on a commit and record their result.

        Nothing is recorded where the launch ends before the checks could. Raises HarnessError if
        the machine or the harness is to blame for void checks.
        """
        run, result = self.run, await self._checked(request.commit, slice_)
        if isinstance(result, VoidError):
            result = await self._void_checks(request.commit, slice_, result)
        if result is None:
            return
        run.record(
            ev.CommitChecked(
                request.experiment,
                self.island,
                request.commit,
                **asdict(result),
                stack=request.stack,
                promotion=request.promotion,
            )
        )

    def discard_export(self, commit: str) -> None:
        """Move a commit's export out of the way; it is deleted while the next trial runs."""
        genomes = self.run.launch.folder.genomes
        discarded = genomes / f".gone-{self.island}-{commit}"
        with suppress(OSError):  # never exported, or discarded before
            (genomes / commit).rename(discarded)
            self._discarded.append(discarded)

    async def _void_checks(
        self, commit: str, slice_: Slice, error: VoidError
    ) -> CheckResult | None:
        """Return that a commit fails whose checks are void where the base's are not.

        None where the launch ends meanwhile. Raises HarnessError if the base's are void, too.
        """
        base = self.run.state.run.base
        of_base = error if commit == base else await self._checked(base, slice_)
        if isinstance(of_base, VoidError):
            raise HarnessError(
                f"the base's checks were void {MAX_VOID_CHECKS} times in a row: {of_base}"
            ) from of_base
        return of_base and CheckResult(ok=False, reason=f"{CHECKS_VOID}: {error}")

    async def _checked(self, commit: str, slice_: Slice) -> CheckResult | VoidError | None:
        """Return what came of a commit's checks, or why they were void MAX_VOID_CHECKS times.

        None where the launch ends meanwhile.
        """
        run = self.run
        trial = self._trial(TrialRequest(commit, run.state.run.seed, "screen"), slice_)
        await run.offload(run.branches.export, commit, Path(trial.genome))
        for turn in range(1, MAX_VOID_CHECKS + 1):
            try:
                return await run.executor.check(replace(trial, id=self._check_id()))
            except VoidError as error:
                void = error
            await pause(run, pause_after(turn, void.cause, trial.rung.seconds), trial.rung)
            if run.limits.reached(trial.rung) is not None:
                return None
        return void

    def _check_id(self) -> str:
        """Return an id that no other check of the run has, at whatever time and on any island.

        Events tell launches apart, which begin with one each; during a check none has to come.
        """
        self._checks += 1
        return f"c{self.run.state.events}-{self.island}-{self._checks}"

    async def _void(self, started: ev.TrialStarted, trial: Trial, error: VoidError) -> None:
        """Record a void trial and wait while what disturbed it may last.

        A commit that has had too many has failed: a head is invalid, which can be told from its own
        trials before. Raises HarnessError if the machine or the harness is to blame.
        """
        run, voids = self.run, self.run.state.voids
        if voids.exhausted(started, error.cause):
            reason = f"{TRIALS_VOID}: {error}"
            failure = Failure("invalid" if self._is_head(started) else "crash", reason)
            harness, split = run.state.run.harness, started.split
            dropped = Outcome(trial.id, harness, trial.sandbox, failure=failure, split=split)
            run.record(ev.TrialEnded(started, dropped))
            return
        run.record(ev.TrialVoided(started, str(error), error.cause))
        if voids.machine_at_fault(started.slice):
            raise HarnessError(
                f"{MAX_VOIDS_OF_BASE} trials of the base in a row were void: {error}"
            ) from error
        await pause(run, voids.pause_s(started.slice, error.cause, trial.rung.seconds), trial.rung)

    def _is_head(self, started: ev.TrialStarted) -> bool:
        return any(started.commit in island.heads for island in self.run.state.islands.values())

    async def _outcome(self, trial: Trial, request: TrialRequest) -> Outcome:
        """Export the genome and run the trial. Raises VoidError if it says nothing."""
        run = self.run
        await run.offload(run.branches.export, request.commit, Path(trial.genome))
        # deleting an old export takes a busy disk 13 ms, so it is done while the trial runs
        outcome, _ = await asyncio.gather(run.executor.run(trial), self._delete_discarded())
        if outcome.harness != run.state.run.harness:
            raise HarnessError(
                f"scored by harness {outcome.harness}, the run's is {run.state.run.harness}: launch"
                " again with the run's harness, or start a new run with --new"
            )
        if request.purpose != "sentinel" and run.state.sentinels.quarantine_reason(
            trial.slice.name
        ):
            raise VoidError(f"slice {trial.slice.name} was quarantined meanwhile", "drift")
        return outcome

    def _trial(self, request: TrialRequest, slice_: Slice) -> Trial:
        launch, opened = self.run.launch, self.run.state.run
        rung = opened.rungs[request.rung]
        return Trial(
            id=f"t{self.run.state.trials_started + 1}",
            task=opened.task,
            data=opened.data,
            commit=request.commit,
            seed=request.seed,
            rung=replace(rung, seconds=rung.seconds * request.share),
            slice=slice_,
            genome=str(launch.folder.genomes / request.commit),
            entry=launch.entry,
            scratch=str(launch.folder.scratch / "trials"),
            sandbox=launch.sandbox,
            split=request.split,
            audit=request.audit,
            # a trial that others slow down ends with the launch's minutes
            max_wall=min(
                self.run.state.voids.max_wall(slice_.name), self.run.limits.budgets_left(rung)
            ),
            problem=str(launch.folder.problem),
            fresh=request.fresh,
        )

    async def _delete_discarded(self) -> None:
        while self._discarded:
            delete = partial(shutil.rmtree, ignore_errors=True)
            await self.run.offload(delete, self._discarded.pop())
