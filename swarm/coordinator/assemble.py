"""Builds a run from a repository, its program.md and this machine.

program.md is read from the commit that the run was launched on, never from the working tree, also
when a run is resumed.
"""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    closing,
    contextmanager,
    suppress,
)
from dataclasses import replace
from pathlib import Path

from analysis.ledger import InUseError, Ledger
from harness import fingerprint as identity
from harness import tasks
from harness.contract import HarnessError, SetupError
from islands import events as ev
from islands.git.branches import Branches
from islands.records import Usage
from islands.state.run_state import State
from swarm.agents.llm.budget import Budget
from swarm.coordinator.agent_factory import make_teams, probe, writer_of
from swarm.coordinator.call_records import CallRecords
from swarm.coordinator.inbox import Inbox
from swarm.coordinator.launch_options import LaunchOptions, require_agent, select_run
from swarm.coordinator.launch_plan import Launch
from swarm.coordinator.limits import require_trials_left
from swarm.coordinator.program_plan import islands_of, launch_of, line_count, opening_of
from swarm.coordinator.record_answers import RecordAnswers
from swarm.coordinator.resumed_program import ResumedProgram, resumed_program
from swarm.coordinator.run import Run
from swarm.coordinator.shared_gateway import SharedGateway
from swarm.executors.backends import open_backend
from swarm.executors.base import ExecutorConfig
from swarm.executors.preflight import PreflightPool, choose_slices
from swarm.executors.require_sandbox import require_sandbox
from swarm.project.genome_files import require_text
from swarm.project.problem import freeze
from swarm.project.removal import remove
from swarm.project.repository import (
    PROGRAM,
    LaunchBase,
    load_program,
    program_path,
    require_clean,
    require_frozen_harness,
    tip,
)
from swarm.project.runs import RunFolder, fold, load_state, release_name


@asynccontextmanager
async def assemble(
    repo: Path, options: LaunchOptions, watch: Callable[[ev.Event, State], None]
) -> AsyncIterator[Run]:
    """Yield a run that is ready to start; the processes of its slices end with the block.

    Raises SetupError for what the user must fix before anything can run.
    """
    folder = select_run(repo, options)
    with _ledger(folder) as (ledger, past), _present(folder):
        opened = past.opened
        base = LaunchBase(opened.base, opened.target, opened.program) if opened else tip(repo)
        if not options.run and base.program != program_path(repo):
            raise SetupError(
                f"run {folder.name} improves what {base.program} names, which is not the {PROGRAM}"
                " of this folder: name the run with --run, or begin one with --new"
            )
        program = load_program(repo, base.commit, base.program)
        resumed = ResumedProgram(program)
        if opened is None:
            require_clean(repo, program)
            require_text(repo, base.commit, program)
        else:
            resumed = resumed_program(repo, program, past, take_up=not options.unlimited)
        program = resumed.program
        if options.trials is not None:  # of this launch, as its minutes are
            options = replace(options, trials=past.trials + options.trials)
        require_agent(program, options)
        require_frozen_harness()
        branches = Branches(repo, folder.name, program.settings.genome)

        calls, answers = CallRecords(), RecordAnswers()
        async with AsyncExitStack() as stack:
            backend = stack.enter_context(closing(open_backend(options.executor, options.address)))
            islands = islands_of(program, options, backend.slices(program.settings.slices))
            problem = freeze(repo, base.commit, program, folder.problem)
            task = tasks.load(program.settings.task, problem)
            lines = line_count(branches, base.commit)
            opening = opening_of(program, task, folder.name, base, islands, lines)
            launch = replace(
                launch_of(program, task, folder, options, opening, islands),
                revision=resumed.revision,
                notices=resumed.notices,
            )
            require_trials_left(launch.limits, past, launch.revision)
            shared = SharedGateway(_budget_of(launch, past), calls, stack)
            teams = await make_teams(program, launch, shared, answers)
            if not options.unlimited:
                await probe(agent for team in teams.values() for agent in team.values())
            # takes seconds: whatever else is wrong is said before
            require_sandbox(options.sandbox, folder.kept)
            shutil.rmtree(folder.scratch, ignore_errors=True)
            folder.genomes.mkdir(parents=True)
            harness = identity.export(folder.harness)
            settings = program.settings
            config = ExecutorConfig(
                settings.task,
                program.data,
                launch.sandbox,
                settings.slices.max_foreign_cpu,
                problem,
            )
            slices = tuple({island.slice.name: island.slice for island in islands}.values())
            executor = await shared.metered(
                backend.executor(harness, config, slices),
                program,
                folder,
                local=options.executor == "local",
            )
            places = choose_slices(settings.preflight if task.preflights else "never", slices)
            preflights = PreflightPool(
                harness, settings.task, program.data, places, launch.sandbox, problem
            )
            run = Run(
                launch=launch,
                ledger=ledger,
                branches=branches,
                executor=await stack.enter_async_context(executor),
                agents={island.name: teams[island.name][island.agent] for island in islands},
                teams={
                    island.name: {name: teams[island.name][name] for name in island.agents}
                    for island in islands
                },
                preflights=await stack.enter_async_context(preflights),
                watch=watch,
                budget=shared.budget,
                writer=writer_of(teams),
                inbox=Inbox(folder.steering),
            )
            calls.run = answers.run = run
            gc.freeze()  # all of this lives as long as the run: do not scan it again
            stack.callback(gc.unfreeze)
            stack.callback(branches.pack_candidates, base.commit)
            yield run


@contextmanager
def _ledger(folder: RunFolder) -> Iterator[tuple[Ledger, State]]:
    with ExitStack() as stack:
        try:
            ledger = stack.enter_context(Ledger.open(folder.path, time.time))
        except InUseError:
            raise
        except SetupError:
            _remove_unbegun(folder)
            raise
        past = fold(ledger.events())
        try:
            yield ledger, past
        except (SetupError, HarnessError) as error:
            if past.opened is None and _remove_worthless(folder):
                kind = SetupError if isinstance(error, SetupError) else HarnessError
                raise kind(
                    f"{error}; {folder.name} has no score, so it was removed again"
                ) from error
            raise
        finally:
            if folder.ledger.exists():  # the lock is held, so no other launch writes here
                _remove_unbegun(folder)


def _remove_worthless(folder: RunFolder) -> bool:
    """Remove a run that ended before its first score and cost nothing: it would hide a good one.

    Returns whether it had begun and is gone: it was announced, so that must be said.
    """
    if not folder.ledger.exists():
        return False
    begun, state = folder.ledger.stat().st_size > 0, load_state(folder)
    if state.scores.by_commit or state.usd or state.tokens:
        return False
    with suppress(SetupError):  # a file is still being written: without a ledger it is no run
        remove(folder, keep_branches=False)
    return begun


def _remove_unbegun(folder: RunFolder) -> None:
    """Remove a run that was refused before its first event."""
    if not folder.ledger.exists() or not folder.ledger.stat().st_size:
        shutil.rmtree(folder.path, ignore_errors=True)
        release_name(folder)


@contextmanager
def _present(folder: RunFolder) -> Iterator[None]:
    """Say it in one line where something failed because the run's folder was removed."""
    try:
        yield
    except Exception as error:
        if folder.ledger.exists():  # processes of ours may have made the folder again
            raise
        raise SetupError(
            f"{folder.path} was removed while the run used it, so the run's record is lost; its"
            " kept changes are in git (git branch --list 'swarm/*')"
        ) from error


def _budget_of(launch: Launch, past: State) -> Budget:
    """Return what is left to spend of the launch's limits."""
    spent = Usage(tokens_untold=past.tokens, usd=past.usd)
    return Budget(launch.limits.usd, launch.limits.tokens, spent)
