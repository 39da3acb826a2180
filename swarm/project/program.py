"""program.md: what a person asks of a swarm, in YAML front matter, and tells its agents, in prose.

Whatever is wrong with the file comes out as one SetupError with a line for each problem: where it
stands, what is wrong, and the mend.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from harness import tasks
from harness.contract import Direction, Rung
from islands.promotion.consensus import NAME as CONSENSUS
from islands.records import NULL
from swarm.agents.llm.settings import ModelSettings, Price
from swarm.project.errors import Problem, misspelt, nearest, refusal, shown
from swarm.project.frontmatter import SourcePosition, read_front_matter
from swarm.project.schema import (
    GuardsSection,
    IslandSection,
    LimitsSection,
    MigrationSection,
    ModelSection,
    MutatorSection,
    PromotionSection,
    RatchetSection,
    Settings,
    SlicesSection,
    StackSection,
)
from swarm.project.schema import PriceSection as PriceSaid

_SETTINGS = TypeAdapter(Settings)


@dataclass(frozen=True, slots=True)
class Program:
    """A program.md that holds together, with everything it left open filled in.

    `genome` are files and directories of the repository, `entry` the genome's file that the task
    starts (empty where no files were given to find it among). `islands` "auto" is one for each
    slice. `agents` always has the built-in mutator, `agent` proposes where an island names none.
    `preflight` says whether candidates are looked at before their trials
    (swarm/executors/preflight.py).
    `prose` is for the agents.
    """

    task: str
    data: str
    metric: str
    direction: Direction
    genome: tuple[str, ...]
    entry: str
    rungs: tuple[Rung, ...]
    islands: int | Literal["auto"] | tuple[IslandSection, ...]
    agents: Mapping[str, MutatorSection | ModelSettings]
    agent: str
    slices: SlicesSection
    limits: LimitsSection
    ratchet: RatchetSection
    guards: GuardsSection
    promotion: PromotionSection
    stack: StackSection
    migration: MigrationSection
    preflight: Literal["auto", "always", "never"]
    seed: int
    prose: str


def read_program(text: str | bytes, source: str, files: Collection[str] | None = None) -> Program:
    """Return what `text`, called `source` in messages, asks for.

    `files` are the paths of all files beside it: where given, what the genome names must be among
    them. Raises SetupError.
    """
    front = read_front_matter(text, source)
    try:
        settings = _SETTINGS.validate_json(json.dumps(front.values))
    except ValidationError as error:
        raise refusal(source, front, misspelt(front, error)) from None
    problems = [*_contradictions(settings), *_absences(settings, files)]
    if problems:
        raise refusal(source, front, problems)
    return _settled(settings, front.prose, files)


def _settled(settings: Settings, prose: str, files: Collection[str] | None) -> Program:
    """Fill in what the task and the other keys decide."""
    task = tasks.load(settings.task)
    islands = settings.islands
    if isinstance(islands, tuple):
        islands = tuple(
            dataclasses.replace(island, agent=island.agent or settings.agent) for island in islands
        )
    agents = {name: _agent(agent) for name, agent in settings.agents.items()}
    return Program(
        task=settings.task,
        data=settings.data or tasks.DEFAULT_DATA[settings.task],
        metric=task.metric,
        direction=task.direction,
        genome=settings.genome,
        entry=_entries(settings, files)[0] if files is not None else "",
        rungs=settings.rungs,
        islands=islands,
        agents={"mutator": MutatorSection(), **agents},
        agent=settings.agent,
        slices=settings.slices,
        limits=settings.limits,
        ratchet=settings.ratchet,
        guards=settings.guards,
        promotion=settings.promotion,
        stack=settings.stack,
        migration=settings.migration,
        preflight=settings.preflight,
        seed=settings.seed,
        prose=prose,
    )


def _agent(agent: MutatorSection | ModelSection) -> MutatorSection | ModelSettings:
    """Return the settings an agent is made of, its package's defaults where nothing was said."""
    if isinstance(agent, MutatorSection):
        return agent
    given = {key: value for key, value in dataclasses.asdict(agent).items() if value is not None}
    if agent.price is not None:
        given["price"] = _price(agent.price)
    return ModelSettings(**given)


def _price(said: PriceSaid) -> Price:
    """Return a price that is never too low, or a limit in dollars could be overshot.

    No provider that we know takes more for tokens from its cache than for fresh ones, or more
    than double for writing them there (Anthropic: 1.25 times for 5 minutes, 2 times for an hour).
    """
    return Price(
        input=said.input,
        output=said.output,
        cache_read=said.input if said.cache_read is None else said.cache_read,
        cache_write=2 * said.input if said.cache_write is None else said.cache_write,
    )


def _entries(settings: Settings, files: Collection[str]) -> list[str]:
    """Return the files of the genome that bear the name of the task's entry."""
    name = tasks.load(settings.task).entry
    return sorted(
        file
        for file in files
        if f"/{file}".endswith(f"/{name}") and any(_holds(path, file) for path in settings.genome)
    )


def _holds(path: str, file: str) -> bool:
    return file == path or file.startswith(f"{path}/")


def _contradictions(settings: Settings) -> Iterator[Problem]:
    """Yield where two keys, or a key and the task, do not agree."""
    if settings.task not in tasks.NAMES:
        yield (
            ("task",),
            f"is {shown(settings.task)}, which is no task{nearest(settings.task, tasks.NAMES)}",
        )
    else:
        task = tasks.load(settings.task)
        for key, right in (("metric", task.metric), ("direction", task.direction)):
            if getattr(settings, key) not in (None, right):
                yield (key,), f"must be `{right}` for task {settings.task}: correct or delete it"
    if NULL in settings.agents:
        yield ("agents", NULL), "is what proposals that do nothing go by: choose another name"
    yield from _unknown_agents(settings)
    yield from _repetitions(settings)
    if settings.limits.usd is not None:
        for name, agent in settings.agents.items():
            if isinstance(agent, ModelSection) and agent.price is None:
                yield (
                    ("agents", name, "price"),
                    "is missing, and limits.usd needs it: add `price: {input: 3, output: 15}`",
                )


def _unknown_agents(settings: Settings) -> Iterator[Problem]:
    known = {"mutator", *settings.agents}
    named: list[tuple[SourcePosition, str]] = [(("agent",), settings.agent)]
    if isinstance(settings.islands, tuple):
        named += [
            (("islands", n, "agent"), island.agent)
            for n, island in enumerate(settings.islands)
            if island.agent
        ]
    for where, name in named:
        if name not in known:
            yield where, f"is {shown(name)}, which is no agent{nearest(name, known)}"


def _repetitions(settings: Settings) -> Iterator[Problem]:
    for n, path in enumerate(settings.genome):
        if path == "program.md":
            yield ("genome", n), "may not be program.md itself: agents never change it"
        for other in settings.genome[:n]:
            if _holds(other, path) or _holds(path, other):
                yield ("genome", n), f"covers the same files as {shown(other)}: keep one of them"
    least = 2 * settings.promotion.seeds + 8
    if settings.promotion.trials < least:
        yield ("promotion", "trials"), f"is too few for the stack alone: say {least} or more"
    if isinstance(settings.islands, tuple):
        names = [island.name for island in settings.islands]
        for n, name in enumerate(names):
            if name in (CONSENSUS, "pr"):
                yield ("islands", n, "name"), f"is {shown(name)}, a branch of the run's: another"
            if name in names[:n]:
                yield (
                    ("islands", n, "name"),
                    f"is {shown(name)}, as another island's is: choose another",
                )


def _absences(settings: Settings, files: Collection[str] | None) -> Iterator[Problem]:
    """Yield what the genome names and the repository lacks."""
    if files is None or settings.task not in tasks.NAMES:
        return
    absent = False
    for n, path in enumerate(settings.genome):
        if not any(_holds(path, file) for file in files):
            absent = True
            yield ("genome", n), f"is {shown(path)}, which is not there{nearest(path, files)}"
    entries = _entries(settings, files)
    if len(entries) != 1 and not absent:
        name = tasks.load(settings.task).entry
        yield ("genome",), f"must hold one file {name} for task {settings.task}, not {len(entries)}"
