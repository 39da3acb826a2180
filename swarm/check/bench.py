"""Runs the base of a repository in trials of its own, without a run: nothing is recorded.

Trials run as those of a run do: all slices at a time, the same sandbox, the frozen problem of the
commit. A broken genome is one whose files no language reads. A second run in one place tells what
a run leaves behind; only tasks with a command line have one.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.contract import CheckResult, HarnessError, Outcome, SandboxKind, Slice, Trial
from harness.problem.spec import SPEC, TREE, read_spec, write_spec
from islands.rng import seed_of
from swarm.check.records import LEFT, SAW, BaseRuns, BaseTrial
from swarm.executors.base import VoidError
from swarm.executors.workbench import make_workbench, shortened
from swarm.project.costs import REQUIRE_WORK
from swarm.project.printing_scripts import printing_script
from swarm.project.program import Program

BROKEN = b"\x00<<< swarm check: broken on purpose )]} '\"\n"
"""The content of each file of a broken genome: a syntax error in any language."""

QUICK_S = 20.0
"""Limit of each trial of the quick check."""

MIN_TRIALS = 4
"""Trials of the base that a score of a broken genome is compared with."""

VOIDS = 3
"""Times that a void trial is repeated."""

_AGAIN = (
    "{{ {run}\n}} >/dev/null 2>&1\n{{ {run}\n}}; code=$?\n"
    'for place in "$HOME" "$TMPDIR" /dev/shm "$OUT"; do\n'
    '  find "$place" -xdev -type f ! -path "*/pycache/*" ! -path "*/.swarm/*" 2>/dev/null\n'
    "done | sort -u | sed 's/^/" + LEFT + " /'\n"
    "env | sed -n 's/^\\([A-Za-z_][A-Za-z0-9_]*\\)=.*/" + SAW + " \\1/p'\n"
    "exit $code"
)
"""The command line that runs another one twice, then tells what is left and which names it saw."""


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """How much is run.

    - `seeds`: seeds of the base
    - `repeats`: trials of each
    - `again`: whether the command is run twice in one place, and the checks are run
    - `limit`: seconds of a trial at most, below what program.md allows; None: that
    """

    seeds: int = 6
    repeats: int = 2
    again: bool = True
    limit: float | None = None


QUICK = BenchPlan(seeds=1, repeats=1, again=False, limit=QUICK_S)
"""What the first launch in a repository runs."""


@dataclass(frozen=True, slots=True)
class Base:
    """The base: a commit of a repository with its program.md, and where its trials run.

    - `scratch`: a folder for the trials, which is emptied
    """

    repo: Path
    commit: str
    program: Program
    scratch: Path
    sandbox: SandboxKind


async def run_base(base: Base, plan: BenchPlan, log: Callable[[str], None]) -> BaseRuns:
    """Run the base as `plan` says.

    `log` gets one line for each trial. Raises SetupError where the machine or the problem has to be
    put right, HarnessError where a trial is void again and again.
    """
    shutil.rmtree(base.scratch, ignore_errors=True)
    try:
        base_bench = _BaseBench(base, plan)
        async with base_bench.bench.opened():
            return await base_bench.runs(log)
    finally:
        shutil.rmtree(base.scratch, ignore_errors=True)


class _BaseBench:
    """The slices of this machine, and the base in variants."""

    def __init__(self, base: Base, plan: BenchPlan) -> None:
        self._base, self._plan = base, plan
        self._rung = shortened(base.program.settings.rungs[0], plan.limit)
        self.bench = make_workbench(
            base.repo,
            base.program,
            [base.commit],
            base.scratch,
            base.sandbox,
            frozen_at=base.commit,
        )
        self._broken = base.scratch / "broken"
        _break_files(self.bench.genome(base.commit), self._broken)
        self._slices, self._problem = self.bench.slices, self.bench.problem
        self.task = self.bench.task
        self._count = 0

    async def runs(self, log: Callable[[str], None]) -> BaseRuns:
        """Run all of the plan."""
        seeds = [
            seed_of(self._base.program.settings.seed, "check", n) for n in range(self._plan.seeds)
        ]
        trials = await self._trials(seeds * self._plan.repeats, log)
        scored = any(trial.outcome.score is not None for trial in trials)
        first = self._slices[0]
        broken = again = None
        if scored:
            broken = await self._run(seeds[0], first, genome=self._broken)
            log(f"genome broken: {_told(broken)}")
        if broken is not None and broken.score is not None and len(trials) < MIN_TRIALS:
            trials += await self._trials(seeds[:1] * (MIN_TRIALS - len(trials)), log)
        if scored and self._plan.again and (twice := self._twice()):
            again = await self._run(seeds[0], first, problem=twice, times=2)
            log(f"second run in one place: {_told(again)}")
        checked = await self._check(seeds[0], first) if scored and self._plan.again else None
        settings = self._base.program.settings
        evidence = next((each.outcome.evidence for each in trials), self.task.evidence)
        return BaseRuns(
            metric=self.task.metric,
            direction=self.task.direction,
            trials=tuple(trials),
            broken=broken,
            again=again,
            checked=checked,
            slices=len(self._slices),
            limit=self._rung.seconds,
            evidence=evidence,
            fills_time=not self._problem,
            text=bool(settings.text),
            sees=_sees(self._problem),
            task=settings.task,
            printed_by=printing_script(self._base.program),
            required=any(getattr(settings, key) for key in REQUIRE_WORK),
            cut=self._rung.seconds < settings.rungs[0].seconds,
        )

    async def _trials(self, seeds: Sequence[int], log: Callable[[str], None]) -> list[BaseTrial]:
        """Run the base on `seeds`, each slice taking the next one when it is free."""
        queue, trials = list(reversed(seeds)), list[BaseTrial]()

        async def work(slice_: Slice) -> None:
            while queue:
                seed, began = queue.pop(), time.monotonic()
                outcome = await self._run(seed, slice_)
                trials.append(BaseTrial(seed, outcome, time.monotonic() - began))
                log(f"base on seed {seed}: {_told(outcome)}")

        try:
            async with asyncio.TaskGroup() as group:
                for slice_ in self._slices:
                    group.create_task(work(slice_))
        except ExceptionGroup as errors:  # the first says what the user has to know
            raise errors.exceptions[0] from errors
        return trials

    async def _run(self, seed: int, slice_: Slice, **more: Any) -> Outcome:  # noqa: ANN401 - as _trial
        """Run a trial, again where it is void. Raises HarnessError where it always is."""
        trial = self._trial(seed, slice_, **more)
        for _ in range(VOIDS):
            try:
                return await self.bench.run(trial)
            except VoidError as error:
                reason = str(error)
        raise HarnessError(f"the base could not be measured: {reason}")

    async def _check(self, seed: int, slice_: Slice) -> CheckResult | None:
        """Run `checks` on the base; return None where there are none."""
        if not self._base.program.settings.checks:
            return None
        try:
            return await self.bench.executor.check(self._trial(seed, slice_))
        except VoidError as error:
            raise HarnessError(f"the checks could not be run: {error}") from error

    def _trial(
        self,
        seed: int,
        slice_: Slice,
        *,
        genome: Path | None = None,
        problem: str = "",
        times: int = 1,
    ) -> Trial:
        """Return a trial of the base, or of another genome or problem, with `times` its limit."""
        self._count += 1
        return self.bench.trial(
            f"c{self._count}",
            self._base.commit,
            seed,
            slice_,
            rung=replace(self._rung, seconds=times * self._rung.seconds),
            genome=genome,
            problem=problem,
        )

    def _twice(self) -> str:
        """Return a problem that runs the command twice in one place, "" where that says nothing."""
        if not self._problem:
            return ""
        spec = read_spec(self._problem)
        # a model's answers cost money, and leave nothing here
        if not spec.run or spec.network or spec.model:
            return ""
        folder = self._base.scratch / "twice"
        shutil.copytree(self._problem, folder, symlinks=True, copy_function=os.link)
        (folder / SPEC).unlink()  # or the original would be written
        write_spec(dataclasses.replace(spec, run=_AGAIN.format(run=spec.run)), folder)
        return str(folder)


def _break_files(genome: Path, broken: Path) -> None:
    """Copy the folder `genome` to `broken`, with content that nothing can read in each file."""
    shutil.copytree(genome, broken)
    for path in broken.rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.write_bytes(BROKEN)


def _sees(problem: str) -> str:
    """Return what a trial of the frozen `problem` sees beside the genome, "" without one."""
    if not problem:
        return ""
    python = (spec := read_spec(problem)).python
    files = sum(1 for path in (Path(problem) / TREE).rglob("*") if path.is_file())
    mounts = f", read-only {', '.join(python.prefixes)}" if python.prefixes else ""
    reach = "no network, no keys"
    if spec.network or spec.env:
        reach = " and ".join([*(["the network"] * spec.network), *spec.env])
    if spec.model is not None:
        reach += f", and {spec.model.name} at {spec.model.url} through the meter"
    return (
        f"{files} files of the commit, the genome among them, read-only; python is"
        f" {python.program} ({python.version.split(' ')[1]}){mounts}; {reach}"
    )


def _told(outcome: Outcome) -> str:
    if outcome.failure is not None:
        return f"{outcome.failure.kind}: {outcome.failure.reason}"
    return f"{outcome.score:.6g} ({outcome.seconds.get('budget', 0.0):.2g} s)"
