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
from islands.records import CheckRequest, TrialRequest
from islands.state.voids import MAX_VOIDS_OF_CANDIDATE
from swarm.coordinator.run import Run
from swarm.executors.base import VoidError

MAX_VOIDS_IN_A_ROW = 5
"""Voided trials in a row after which the harness, not chance, is to blame."""


@dataclass(slots=True)
class TrialRunner:
    """Runs the trials of one island; the caller holds the slice's lock."""

    run: Run
    island: str
    _discarded: list[Path] = field(default_factory=list)

    async def execute(self, request: TrialRequest, slice_: Slice) -> None:
        """Run the trial and record its outcome, or that it was void.

        Raises HarnessError if the outcome is of another harness than the run's, or after
        MAX_VOIDS_IN_A_ROW.
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

    async def check(self, request: CheckRequest, slice_: Slice) -> None:
        """Run the problem's checks on a commit and record their result.

        If they are void MAX_VOIDS_IN_A_ROW times, a candidate or a combination fails, which may
        have caused it; for the base HarnessError is raised.
        """
        run = self.run
        trial = self._trial(TrialRequest(request.commit, run.state.run.seed, "screen"), slice_)
        trial = replace(trial, id=f"c{run.state.events + 1}")
        await run.offload(run.branches.export, request.commit, Path(trial.genome))
        for _ in range(MAX_VOIDS_IN_A_ROW):
            try:
                result = await run.executor.check(trial)
                break
            except VoidError as error:
                reason = str(error)
        else:
            reason = f"the checks were void {MAX_VOIDS_IN_A_ROW} times in a row: {reason}"
            if request.commit == run.state.run.base:
                raise HarnessError(reason)
            result = CheckResult(ok=False, reason=reason)
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

    async def _void(self, started: ev.TrialStarted, trial: Trial, error: VoidError) -> None:
        """Record a void trial and wait while what disturbed it may last.

        A candidate that has had too many is dropped as failed. Raises HarnessError after
        MAX_VOIDS_IN_A_ROW.
        """
        run, voids = self.run, self.run.state.voids
        if self._is_candidate(started) and voids.exhausted(started.commit, error.cause):
            reason = f"{MAX_VOIDS_OF_CANDIDATE} of its trials in a row were void: {error}"
            failure = Failure("crash", reason)
            harness, split = run.state.run.harness, started.split
            dropped = Outcome(trial.id, harness, trial.sandbox, failure=failure, split=split)
            run.record(ev.TrialEnded(started, dropped))
            return
        run.record(ev.TrialVoided(started, str(error), error.cause))
        if voids.in_a_row >= MAX_VOIDS_IN_A_ROW:
            raise HarnessError(
                f"{MAX_VOIDS_IN_A_ROW} trials in a row were void: {error}"
            ) from error
        pause = voids.pause_s(started.slice, error.cause, trial.rung.seconds)
        last, now = run.limits.last_start(trial.rung), asyncio.get_running_loop().time()
        await asyncio.sleep(pause if last is None else max(0.0, min(pause, last - now)))

    def _is_candidate(self, started: ev.TrialStarted) -> bool:
        experiment = self.run.state.islands[self.island].experiment
        return experiment is not None and (started.experiment, started.commit) == (
            experiment.number,
            experiment.commit,
        )

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
