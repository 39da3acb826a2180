"""A workbench: commits of a repository in trials that belong to no run and are not recorded.

It is what `swarm check`, `swarm measure` and `swarm slices --benchmark` have in common: genomes,
the frozen problem, an executor, and a way to the problem's model where it has one.

Not covered: what such trials spend on a model is limited by program.md's `limits` each time anew,
and no run's record has it.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness import fingerprint as identity
from harness import tasks
from harness.contract import Outcome, Rung, SandboxKind, SetupError, Slice, Trial
from harness.tasks.base import Task
from islands.git.branches import Branches
from islands.records import Usage
from swarm.agents.llm.budget import Budget, BudgetError
from swarm.executors.backends import Backend, LocalBackend
from swarm.executors.base import Executor, ExecutorConfig
from swarm.project.problem import freeze
from swarm.project.program import Program


@dataclass(slots=True)
class Workbench:
    """The commits of a repository in trials of their own.

    - `repo`, `program`: the repository, and what its program.md says
    - `folder`: for genomes and trials; `make_workbench` empties it
    - `sandbox`: what confines them
    - `problem`: folder of the frozen problem, "" for a task that needs none
    - `harness_home`: folder of the harness that they import
    - `slices`, `backend`: where they run
    - `usd`: dollars spent on the problem's model so far
    """

    repo: Path
    program: Program
    folder: Path
    sandbox: SandboxKind
    problem: str
    harness_home: Path
    slices: tuple[Slice, ...]
    backend: Backend = field(default_factory=LocalBackend)
    usd: float = 0.0
    _executor: Executor | None = None

    @property
    def task(self) -> Task:
        """The task with its problem."""
        return tasks.load(self.program.settings.task, self.problem)

    @property
    def executor(self) -> Executor:
        """The executor, inside of `opened`."""
        if self._executor is None:
            raise ValueError("the workbench is not open")
        return self._executor

    @asynccontextmanager
    async def opened(self, max_foreign_cpu: float | None = None) -> AsyncIterator[Executor]:
        """Hold the slices' processes; `max_foreign_cpu` as in `ExecutorConfig`."""
        program = self.program
        config = ExecutorConfig(
            program.settings.task, program.data, self.sandbox, max_foreign_cpu, self.problem
        )
        inner = self.backend.executor(self.harness_home, config, self.slices)
        async with AsyncExitStack() as stack:
            self._executor = await stack.enter_async_context(await self._metered(inner, stack))
            stack.callback(setattr, self, "_executor", None)
            yield self._executor

    async def run(self, trial: Trial) -> Outcome:
        """Run a trial. Raises VoidError as executors do, SetupError where a limit has no room."""
        try:
            return await self.executor.run(trial)
        except BudgetError as error:
            raise SetupError(f"limits.{error.limit} in {self.program.path}: {error}") from None

    def genome(self, commit: str) -> Path:
        """Return the folder of a commit's genome, which was exported."""
        return self.folder / "genomes" / commit

    def trial(  # noqa: PLR0913 - what differs between trials
        self,
        name: str,
        commit: str,
        seed: int,
        slice_: Slice,
        *,
        rung: Rung | None = None,
        genome: Path | None = None,
        problem: str = "",
    ) -> Trial:
        """Return the trial `name` of a commit, or of another genome, problem or rung."""
        program = self.program
        return Trial(
            id=name,
            task=program.settings.task,
            data=program.data,
            commit=commit,
            seed=seed,
            rung=rung or program.settings.rungs[0],
            slice=slice_,
            genome=str(genome or self.genome(commit)),
            entry=program.entry,
            scratch=str(self.folder / "trials"),
            sandbox=self.sandbox,
            problem=problem or self.problem,
        )

    async def _metered(self, inner: Executor, stack: AsyncExitStack) -> Executor:
        """Return `inner`, with a way to the problem's model where it has one."""
        model, limits = self.program.settings.model, self.program.settings.limits
        if model is None:
            return inner
        # most problems have no model, and need no HTTP client
        from swarm.agents.gateway.gateway import Gateway  # noqa: PLC0415
        from swarm.agents.llm.factory import RateLimiters  # noqa: PLC0415
        from swarm.executors.model_door import MeteredExecutor, check_model  # noqa: PLC0415

        gateway = Gateway(Budget(limits.usd, limits.tokens), RateLimiters())
        await stack.enter_async_context(gateway)
        check_model(settings := model.model_settings(), gateway)
        return MeteredExecutor(inner, gateway, settings, self.folder / "doors", self._spend)

    def _spend(self, trial: Trial, usage: Usage, over: bool) -> None:
        del trial
        if over:
            self.usd += usage.usd


def make_workbench(  # noqa: PLR0913 - what a workbench is made of
    repo: Path,
    program: Program,
    commits: Collection[str],
    folder: Path,
    sandbox: SandboxKind,
    *,
    frozen_at: str,
    problem: Path | None = None,
    harness: Path | None = None,
    backend: Backend | None = None,
) -> Workbench:
    """Return a workbench with the genomes of `commits`, in `folder`, which is emptied.

    The problem is that of the commit `frozen_at`; it and the harness lie in `folder`, unless other
    places are named. Raises SetupError for what a trial could not be given.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    folder.chmod(0o755)  # a sandbox may run as another user
    backend = backend or LocalBackend()
    slices = backend.slices(program.settings.slices)
    bench = Workbench(
        repo=repo,
        program=program,
        folder=folder,
        sandbox=sandbox,
        problem=freeze(repo, frozen_at, program, problem or folder / "problem"),
        harness_home=identity.export(harness or folder / "harness"),
        slices=slices,
        backend=backend,
    )
    branches = Branches(repo, "bench", program.settings.genome)
    for commit in dict.fromkeys(commits):
        branches.export(commit, bench.genome(commit))
    return bench


def shortened(rung: Rung, seconds: float | None) -> Rung:
    """Return `rung` with at most so many seconds, None for all of its own."""
    return rung if seconds is None else replace(rung, seconds=min(seconds, rung.seconds))
