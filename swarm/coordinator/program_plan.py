"""The plan of a launch, as program.md, the command line and the slices of this machine give it."""

from __future__ import annotations

from harness import fingerprint as identity
from harness.contract import SetupError, Slice
from harness.tasks.base import Task
from islands import events as ev
from islands.events.steering import LIMIT_NAMES, LimitName
from islands.git.branches import Branches
from swarm.coordinator.launch_options import LaunchOptions
from swarm.coordinator.launch_plan import IslandPlan, Launch, RunLimits
from swarm.coordinator.teams import agents_of, reads_no_temperament, temperaments_of
from swarm.project.program import Program
from swarm.project.repository import LaunchBase
from swarm.project.runs import RunFolder
from swarm.project.schema.agents import IslandSection
from swarm.project.schema.judging import guards_of


def opening_of(  # noqa: PLR0913, PLR0917  # each is part of the event
    program: Program,
    task: Task,
    run: str,
    base: LaunchBase,
    islands: tuple[IslandPlan, ...],
    lines: int,
) -> ev.RunOpened:
    """Return the first event of a run that begins now."""
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


def launch_of(  # noqa: PLR0913, PLR0917  # each is part of the plan
    program: Program,
    task: Task,
    folder: RunFolder,
    options: LaunchOptions,
    opening: ev.RunOpened,
    islands: tuple[IslandPlan, ...],
) -> Launch:
    """Return the plan of a launch."""
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
        summary_every=settings.summary_every,
    )


def line_count(branches: Branches, commit: str) -> int:
    """Return how many lines the genome has at a commit."""
    return sum(entry.data.count(b"\n") for entry in branches.files(commit).values())


def _limits(program: Program, options: LaunchOptions) -> RunLimits:
    if options.unlimited:
        return RunLimits(asked=frozenset(LIMIT_NAMES))
    limits = program.settings.limits
    given: dict[LimitName, float | int | None] = {
        name: getattr(options, name) for name in LIMIT_NAMES
    }
    minutes = options.minutes if options.minutes is not None else limits.minutes
    seconds = program.settings.rungs[0].seconds
    if minutes is not None and 60 * minutes <= seconds:
        raise SetupError(
            f"{minutes:g} minutes leave no time for a trial, which may take {seconds:g} s: allow"
            f" more minutes, or give trials fewer `seconds` in `rungs` of {program.path}"
        )
    return RunLimits(
        minutes=minutes,
        trials=options.trials if options.trials is not None else limits.trials,
        usd=options.usd if options.usd is not None else limits.usd,
        tokens=options.tokens if options.tokens is not None else limits.tokens,
        stop_at=options.stop_at,
        stall=options.stall,
        asked=frozenset(name for name, value in given.items() if value is not None),
    )


def islands_of(
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
