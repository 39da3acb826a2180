"""Builds a run from a repository, its program.md and this machine.

program.md is read from the commit that the run was launched on, never from the working tree, also
when a run is resumed.
"""

from __future__ import annotations

import asyncio
import gc
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from analysis.ledger import InUseError, Ledger
from harness import fingerprint as identity
from harness import tasks
from harness.contract import SandboxKind, SetupError, Slice
from harness.tasks.base import Task
from islands import events as ev
from islands.events.steering import LIMIT_NAMES, LimitName
from islands.git.branches import Branches
from islands.records import Usage
from islands.state.run_state import State
from swarm.agents.base import Agent, Probed
from swarm.agents.external.settings import ExternalSettings
from swarm.agents.llm.budget import Budget
from swarm.agents.llm.settings import ModelSettings
from swarm.agents.mutator import Breakages, Mutator
from swarm.agents.plain_sampling import IID, PlainSampling
from swarm.coordinator.call_records import CallRecords
from swarm.coordinator.inbox import Inbox
from swarm.coordinator.launch_plan import IslandPlan, Launch, RunLimits
from swarm.coordinator.resumed_program import ResumedProgram, resumed_program
from swarm.coordinator.run import Run
from swarm.coordinator.teams import agents_of, reads_no_temperament, temperaments_of
from swarm.executors.backends import BackendKind, open_backend
from swarm.executors.base import ExecutorConfig
from swarm.executors.machine_limits import MachineLimits
from swarm.executors.preflight import PreflightPool, choose_slices
from swarm.executors.require_sandbox import require_sandbox
from swarm.project.genome_files import require_text
from swarm.project.problem import freeze
from swarm.project.program import Program
from swarm.project.repository import (
    PROGRAM,
    LaunchBase,
    load_program,
    program_path,
    require_clean,
    require_frozen_harness,
    tip,
)
from swarm.project.runs import (
    RunFolder,
    create,
    create_next,
    fold,
    latest,
    locate,
    release_name,
    run_folder,
    runs,
)
from swarm.project.schema import IslandSection, MutatorSection, guards_of


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """What the command line says; None and "" leave a setting to program.md."""

    run: str = ""
    new: bool = False
    minutes: float | None = None
    trials: int | None = None
    usd: float | None = None
    tokens: int | None = None
    islands: int | None = None
    agent: str = ""
    sandbox: SandboxKind = "namespaces"
    executor: BackendKind = "local"
    address: str = "auto"
    stop_at: float | None = None
    stall: int | None = None
    unlimited: bool = False
    """Ignore the limits of program.md: for steps that a person asks for by hand."""


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
        if not options.run and base.program != (here := program_path(repo)):
            raise SetupError(
                f"run {folder.name} improves what {base.program} names, and here is {here}: name"
                " the run with --run, or begin one with --new"
            )
        program = load_program(repo, base.commit, base.program)
        resumed = ResumedProgram(program)
        if opened is None:
            require_clean(repo, program)
            require_text(repo, base.commit, program)
        else:
            resumed = resumed_program(repo, program, past, take_up=not options.unlimited)
        program = resumed.program
        _require_agent(program, options)
        require_frozen_harness()
        branches = Branches(repo, folder.name, program.settings.genome)

        calls = CallRecords()
        async with AsyncExitStack() as stack:
            backend = stack.enter_context(closing(open_backend(options.executor, options.address)))
            islands = _islands(program, options, backend.slices(program.settings.slices))
            problem = freeze(repo, base.commit, program, folder.problem)
            task = tasks.load(program.settings.task, problem)
            lines = _lines(branches, base.commit)
            opening = _opening(program, task, folder.name, base, islands, lines)
            launch = replace(
                _launch(program, task, folder, options, opening, islands),
                revision=resumed.revision,
                notices=resumed.notices,
            )
            spent = Usage(tokens_untold=past.tokens, usd=past.usd)
            budget = Budget(launch.limits.usd, launch.limits.tokens, spent)
            teams = await _teams(program, launch, budget, stack, calls)
            if not options.unlimited:
                await _probe(agent for team in teams.values() for agent in team.values())
            # takes seconds: whatever else is wrong is said before
            require_sandbox(options.sandbox, folder.kept)
            shutil.rmtree(folder.scratch, ignore_errors=True)
            folder.genomes.mkdir(parents=True)
            harness = identity.export(folder.harness)
            settings = program.settings
            max_foreign_cpu = settings.slices.max_foreign_cpu
            config = ExecutorConfig(
                settings.task, program.data, launch.sandbox, max_foreign_cpu, problem
            )
            slices = tuple({island.slice.name: island.slice for island in islands}.values())
            executor = backend.executor(harness, config, slices)
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
                budget=budget,
                inbox=Inbox(folder.steering),
            )
            calls.run = run
            gc.freeze()  # all of this lives as long as the run: do not scan it again
            stack.callback(gc.unfreeze)
            yield run


def resumes(repo: Path, options: LaunchOptions) -> bool:
    """Return whether these options resume a run. Raises SetupError for a name that cannot be."""
    if not options.run:
        return not options.new and latest(repo) is not None
    exists = run_folder(repo, options.run).name in [run.name for run in runs(repo)]
    if exists and options.new:
        raise SetupError(
            f"--new --run {options.run}: this run exists: give a new one another name, or resume it"
            " without --new"
        )
    return exists


def select_run(repo: Path, options: LaunchOptions) -> RunFolder:
    """Return the run to open or resume: the named one, else the latest, else a new one."""
    if not resumes(repo, options):
        require_launchable(repo, options)
        return create(repo, options.run) if options.run else create_next(repo)
    return run_folder(repo, options.run) if options.run else locate(None, repo)


def require_launchable(repo: Path, options: LaunchOptions) -> None:
    """Raise SetupError for what is wrong with program.md and the genome, before a run is made."""
    base = tip(repo)
    program = load_program(repo, base.commit, base.program)
    _require_agent(program, options)
    require_clean(repo, program)
    require_text(repo, base.commit, program)
    require_frozen_harness()
    memory, wanted = MachineLimits().memory_mib(), program.settings.rungs[0].memory_mib
    if options.executor == "local" and memory is not None and wanted > memory:
        raise SetupError(
            f"{program.path}: rungs[0].memory_mib is {wanted}, and this machine has {memory} MiB:"
            " lower it"
        )


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
        try:
            yield ledger, fold(ledger.events())
        finally:
            if folder.ledger.exists():  # the lock is held, so no other launch writes here
                _remove_unbegun(folder)


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
        if folder.path.exists():
            raise
        raise SetupError(
            f"{folder.path} was removed while the run used it, so the run's record is lost; its"
            " commits are in git (git for-each-ref refs/swarm)"
        ) from error


def _require_agent(program: Program, options: LaunchOptions) -> None:
    if options.agent and options.agent not in program.agents:
        names = ", ".join(program.agents)
        raise SetupError(f"--agent {options.agent}: {PROGRAM} has {names}; add it to `agents`")
    islands, agent = program.settings.islands, options.agent or program.settings.agent
    used = [agent]
    if isinstance(islands, tuple) and not options.agent:
        used = [name for island in islands for name in agents_of(program, island)]
    elif not options.agent:
        used = [*(program.settings.team or (agent,))]
    real = [name for name in used if name != IID]
    asked = [name for name in real if not isinstance(program.agents[name], MutatorSection)]
    if asked and not program.prose.strip():
        raise SetupError(
            f"{program.path} has no prose, so agent {asked[0]} would not know what to do: write the"
            " goal below the front matter and commit it"
        )


def _opening(  # noqa: PLR0913, PLR0917  # each is part of the event
    program: Program,
    task: Task,
    run: str,
    base: LaunchBase,
    islands: tuple[IslandPlan, ...],
    lines: int,
) -> ev.RunOpened:
    return ev.RunOpened(
        run=run,
        base=base.commit,
        target=base.branch,
        task=program.settings.task,
        data=program.data,
        metric=task.metric,
        direction=task.direction,
        genome=program.settings.genome,
        rungs=program.settings.rungs,
        harness=identity.harness_id(
            task.prepare(program.data), islands[0].slice.device, torch=task.torch
        ),
        seed=program.settings.seed,
        baseline_seeds=program.settings.ratchet.baseline_seeds,
        lines=lines,
        evidence=task.evidence,
        checks=program.settings.checks or (),
        program=program.path,
        usd_per_slice_hour=program.settings.arms.usd_per_slice_hour,
        fresh=task.fresh_pieces(program.data),
    )


def _launch(  # noqa: PLR0913, PLR0917  # each is part of the plan
    program: Program,
    task: Task,
    folder: RunFolder,
    options: LaunchOptions,
    opening: ev.RunOpened,
    islands: tuple[IslandPlan, ...],
) -> Launch:
    settings = program.settings
    return Launch(
        opening=opening,
        islands=islands,
        ratchet=settings.ratchet.policy(guards_of(settings.guards)),
        admission=settings.limits.admission(),
        limits=_limits(program, options),
        prose=program.prose,
        entry=program.entry,
        folder=folder,
        sandbox=options.sandbox,
        promotion=settings.promotion.policy(),
        stacking=settings.stack.policy(),
        splits=task.splits,
        migration=settings.migration.migration(),
        notify=settings.notify or "",
        arms=settings.arms.policy(),
    )


def _lines(branches: Branches, commit: str) -> int:
    return sum(entry.data.count(b"\n") for entry in branches.files(commit).values())


def _limits(program: Program, options: LaunchOptions) -> RunLimits:
    if options.unlimited:
        return RunLimits(asked=frozenset(LIMIT_NAMES))
    limits = program.settings.limits
    given: dict[LimitName, float | int | None] = {
        name: getattr(options, name) for name in LIMIT_NAMES
    }
    return RunLimits(
        minutes=options.minutes if options.minutes is not None else limits.minutes,
        trials=options.trials if options.trials is not None else limits.trials,
        usd=options.usd if options.usd is not None else limits.usd,
        tokens=options.tokens if options.tokens is not None else limits.tokens,
        stop_at=options.stop_at,
        stall=options.stall,
        asked=frozenset(name for name, value in given.items() if value is not None),
    )


def _islands(
    program: Program, options: LaunchOptions, slices: tuple[Slice, ...]
) -> tuple[IslandPlan, ...]:
    """Return the islands with their slices, which are shared if there are fewer of them."""
    wanted = options.islands or program.settings.islands
    if isinstance(wanted, tuple):
        named = list(wanted)
    else:
        count = len(slices) if wanted == "auto" else wanted
        named = [IslandSection(_name(n), program.settings.agent) for n in range(count)]
    plans: list[IslandPlan] = []
    for n, one in enumerate(named):
        slice_ = slices[n % len(slices)]
        agents = (options.agent,) if options.agent else agents_of(program, one)
        kinds = temperaments_of(program, n, len(named), one.temperament, agents)
        none = tuple(name for name in agents if reads_no_temperament(program, name))
        plans.append(IslandPlan(one.name, agents[0], slice_, agents, kinds, none))
    return tuple(plans)


def _name(number: int) -> str:
    """Name the islands a, b, ... z, a1, b1, ..."""
    round_, letter = divmod(number, 26)
    return chr(ord("a") + letter) + (str(round_) if round_ else "")


async def _teams(
    program: Program,
    launch: Launch,
    budget: Budget,
    stack: AsyncExitStack,
    calls: CallRecords,
) -> Mapping[str, Mapping[str, Agent]]:
    """Return the agents of each island by name."""
    breakages = Breakages()
    teams: dict[str, dict[str, Agent]] = {island.name: {} for island in launch.islands}
    others: list[tuple[str, str]] = []
    for island, name in ((each.name, name) for each in launch.islands for name in each.agents):
        if name != IID and isinstance(program.agents[name], MutatorSection):
            teams[island][name] = Mutator(name, breakages=breakages)
        elif name != IID:
            others.append((island, name))
    if not others:
        return teams
    # most launches need no HTTP client
    from swarm.agents.external.factory import Workplace, make_coding_agent  # noqa: PLC0415
    from swarm.agents.gateway.gateway import Gateway  # noqa: PLC0415
    from swarm.agents.llm.factory import RateLimiters, make_agent  # noqa: PLC0415

    limiters = RateLimiters()
    gateway = await stack.enter_async_context(Gateway(budget, limiters, calls.ended))
    folder = launch.folder
    place = Workplace(program.settings.genome, folder.path / "agents", folder.scratch / "agents")
    for island, name in others:
        given = program.agents[name]
        if isinstance(given, ModelSettings):
            model = make_agent(name, given, limiters, budget, calls.started, calls.ended)
            stack.push_async_callback(model.close)
            teams[island].setdefault(IID, PlainSampling(model))
            teams[island][name] = model
        elif isinstance(given, ExternalSettings):
            teams[island][name] = make_coding_agent(name, given, gateway, place, calls.started)
    return teams


async def _probe(agents: Iterable[Agent]) -> None:
    """Call each language model once. Raises SetupError for what only the user can fix."""
    by_name = {agent.name: agent for agent in agents}
    probes = [agent.probe() for agent in by_name.values() if isinstance(agent, Probed)]
    results = await asyncio.gather(*probes, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
