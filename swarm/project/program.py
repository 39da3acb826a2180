"""program.md: settings in YAML front matter, and prose for the agents.

Every mistake in the file becomes a line of one SetupError: its place, what is wrong, and the fix.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from pydantic import TypeAdapter, ValidationError

from harness import tasks
from harness.problem.measures import is_measured
from harness.tasks.base import TaskKind
from islands.promotion.consensus import NAME as CONSENSUS
from islands.ratchet.guards import HARNESS_OWN
from islands.records import NULL
from swarm.agents.external.settings import ExternalSettings
from swarm.agents.gateway.prices import known_price
from swarm.agents.llm.settings import RUN, ModelSettings
from swarm.agents.plain_sampling import IID
from swarm.project.coding_agents import unfit_coding_agents
from swarm.project.errors import Problem, nearest, refusal, shown, validation_problems
from swarm.project.frontmatter import SourcePosition, read_front_matter
from swarm.project.judge import evaluate_of
from swarm.project.schema.agents import AgentSection, ExternalSection, ModelSection, MutatorSection
from swarm.project.schema.settings import PROBLEM_KEYS, MetricSection, Settings

CODE = frozenset(
    {
        *(".py", ".pyx", ".ipynb", ".sh", ".bash", ".js", ".mjs", ".cjs", ".ts", ".jsx", ".tsx"),
        *(".rb", ".pl", ".php", ".lua", ".c", ".h", ".cc", ".cpp", ".rs", ".go", ".java", ".so"),
    }
)
"""Suffixes of files that are run and not read."""

NAME = "program.md"

_SETTINGS = TypeAdapter(Settings)

AgentSettings = MutatorSection | ModelSettings | ExternalSettings
"""Settings of one agent."""


@dataclass(frozen=True, slots=True)
class Program:
    """A valid program.md, with a value for every key that it leaves out."""

    settings: Settings
    """The front matter; each island of a list names its agent."""
    data: str
    """The corpus: the one that the front matter names, or the task's default."""
    entry: str
    """The genome's file that the task starts, "" where none must exist, or no files were given."""
    agents: Mapping[str, AgentSettings]
    """Agents by name; the built-in `mutator` is always among them."""
    prose: str
    """The text below the front matter, for the agents."""
    path: str = NAME
    """Its own path in the repository; what it names is relative to its folder, and `settings` has
    the paths of the repository."""


def read_program(text: str | bytes, source: str, files: Collection[str] | None = None) -> Program:
    """Return the program that `text` describes; messages call the file `source`.

    `files` are the paths of all files in the repository: where given, the paths of the genome must
    be among them. Raises SetupError.
    """
    front = read_front_matter(text, source)
    try:
        settings = _SETTINGS.validate_json(json.dumps(front.values))
    except ValidationError as error:
        raise refusal(source, front, validation_problems(front, error)) from None
    problems = [*_contradictions(settings, files or ()), *_missing_files(settings, files)]
    if problems:
        raise refusal(source, front, problems)
    return _complete(settings, front.prose, files)


def in_folder(program: Program, path: str) -> Program:
    """Return the program that lies at `path`, with what it names as paths of the repository."""
    folder = path.removesuffix(NAME)
    if not folder:
        return program
    settings = program.settings
    places = settings.held.by_name().items() if settings.held else ()
    held = settings.held and replace(settings.held, **{split: folder + p for split, p in places})
    evaluate = evaluate_of(settings)
    return replace(
        program,
        settings=replace(
            settings,
            genome=tuple(folder + place for place in settings.genome),
            files=settings.files and tuple(folder + place for place in settings.files),
            evaluate=folder + evaluate if evaluate else None,
            held=held,
        ),
        entry=folder + program.entry if program.entry else "",
        path=path,
    )


def _complete(settings: Settings, prose: str, files: Collection[str] | None) -> Program:
    """Fill in what the task and the other keys decide."""
    islands = settings.islands
    if isinstance(islands, tuple):
        islands = tuple(replace(island, agent=island.agent or settings.agent) for island in islands)
    agents = {name: _agent_settings(agent) for name, agent in settings.agents.items()}
    return Program(
        settings=replace(settings, islands=islands),
        data=settings.data or tasks.kind(settings.task).default_data,
        entry=next(iter(_entries(settings, files or ())), ""),
        agents={"mutator": MutatorSection(), **agents},
        prose=prose,
    )


def _agent_settings(section: AgentSection) -> AgentSettings:
    match section:
        case MutatorSection():
            return section
        case ExternalSection():
            return section.external_settings()
    return section.model_settings()


def _model_of(agent: AgentSettings) -> ModelSettings | None:
    """Return the model that an agent calls through the meter, None for none."""
    match agent:
        case ExternalSettings():
            return agent.model
        case ModelSettings():
            return agent
    return None


def _entries(settings: Settings, files: Collection[str]) -> list[str]:
    """Return the files of the genome that have the name of the task's entry, if it has one."""
    name = tasks.kind(settings.task).entry
    if not name:
        return []
    return sorted(
        file
        for file in files
        if f"/{file}".endswith(f"/{name}") and any(_covers(path, file) for path in settings.genome)
    )


def _covers(path: str, file: str) -> bool:
    return file == path or file.startswith(f"{path}/")


def _contradictions(settings: Settings, files: Collection[str]) -> Iterator[Problem]:
    """Yield a problem for each two keys, or key and task, that contradict each other."""
    if settings.task not in tasks.NAMES:
        yield (
            ("task",),
            f"is {shown(settings.task)}, which is not a task{nearest(settings.task, tasks.NAMES)}",
        )
    else:
        yield from _unfit_keys(settings, tasks.kind(settings.task))
        yield from _unjudged(settings, tasks.kind(settings.task))
    if NULL in settings.agents:
        yield ("agents", NULL), "is the name that proposals without effect go by: choose another"
    if RUN in settings.agents:
        yield ("agents", RUN), "is the name that the run's own trials go by: choose another"
    yield from _idle_keys(settings)
    yield from _networked_code(settings, files)
    yield from _bare_guards(settings)
    yield from _unknown_agents(settings)
    yield from unfit_coding_agents(settings)
    yield from _repetitions(settings)
    yield from _unpriced(settings)


def _unpriced(settings: Settings) -> Iterator[Problem]:
    """Yield models whose price is unknown where dollars are limited."""
    if settings.limits.usd is None:
        return
    models: list[tuple[SourcePosition, ModelSettings | None]] = [
        (("agents", name), _model_of(_agent_settings(agent)))
        for name, agent in settings.agents.items()
    ]
    if settings.model is not None:
        models += [(("model",), settings.model.model_settings())]
    for place, model in models:
        if model is not None and known_price(model) is None:
            yield (
                (*place, "price"),
                "is missing, and limits.usd needs it: add `price: {input: 3, output: 15}`",
            )


def _unfit_keys(settings: Settings, kind: TaskKind) -> Iterator[Problem]:
    """Yield keys that the task does not take, needs, or has a value of its own for."""
    for key in PROBLEM_KEYS:
        value = getattr(settings, key)
        if value is None:
            if key in kind.required:
                yield (key,), f"is missing: add `{key}: {kind.required[key]}`"
        elif key not in kind.keys:
            yield (key,), f"is not a key of task {settings.task}: delete it"
        elif value != kind.fixed.get(key, value):
            fixed = kind.fixed[key]
            yield (key,), f"must be `{fixed}` for task {settings.task}: correct or delete it"


def _unjudged(settings: Settings, kind: TaskKind) -> Iterator[Problem]:
    """Yield keys for a judge where there is none, and evidence that the task cannot give."""
    judged = settings.score is not None or "evaluate" in kind.keys
    if settings.check_seconds is not None and settings.checks is None:
        yield (
            ("check_seconds",),
            "limits nothing without checks: add `checks: [python -m pytest -q tests]`",
        )
    if settings.held is not None and "held" in kind.keys and not judged:
        yield (
            ("held",),
            "needs a judge, since the candidate's code runs in `run`: add `score: python score.py`",
        )


def _idle_keys(settings: Settings) -> Iterator[Problem]:
    """Yield keys that nothing would read, because the harness takes the metric itself."""
    metric = settings.metric
    if isinstance(metric, MetricSection) and is_measured(metric.name):
        yield ("metric",), f"is the harness's own: write `metric: {metric.name}`, without a pattern"
    if isinstance(metric, str) and is_measured(metric) and settings.score is not None:
        yield ("score",), f"scores nothing, since the harness takes {metric} itself: delete it"


def _networked_code(settings: Settings, files: Collection[str]) -> Iterator[Problem]:
    """Yield network, variables and model that are asked for where the genome may be run."""
    asked = [key for key in ("network", "env", "model") if getattr(settings, key)]
    for key in asked:
        if not settings.text:
            yield (
                (key,),
                (
                    "is only for a genome that is read and not run, since code would have it too:"
                    " add `text: true` if it is text (prompts, copy, configuration), or delete it"
                ),
            )
    if settings.text:
        for n, path in enumerate(settings.genome):
            inside = (file for file in (path, *files) if _covers(path, file))
            code = next((file for file in inside if PurePosixPath(file).suffix in CODE), None)
            if code is not None:
                yield ("genome", n), f"has {shown(code)}, which is code, and `text: true` says not"


def _bare_guards(settings: Settings) -> Iterator[Problem]:
    """Yield guards that are a mere number, which does not say what side of what is allowed."""
    for name, bound in settings.guards.items():
        if not isinstance(bound, str) and name not in HARNESS_OWN:
            yield (
                ("guards", name),
                f'must say which side is allowed, as in "<= {bound:g}x", times the head\'s value',
            )


def _unknown_agents(settings: Settings) -> Iterator[Problem]:
    agents = {"mutator", *settings.agents}
    named: list[tuple[SourcePosition, str]] = [(("agent",), settings.agent)]
    if isinstance(settings.islands, tuple):
        named += [
            (("islands", n, "agent"), island.agent)
            for n, island in enumerate(settings.islands)
            if island.agent
        ]
    yield from _unfit_teams(settings)
    for place, name in named:
        if name not in agents:
            yield place, f"is {shown(name)}, which is not an agent{nearest(name, agents)}"


def _unfit_teams(settings: Settings) -> Iterator[Problem]:
    """Yield members of teams that are no agent or stand twice, and `iid` without a model."""
    agents = {"mutator", IID, *settings.agents}
    teams: list[tuple[SourcePosition, tuple[str, ...]]] = [(("team",), settings.team)]
    if isinstance(settings.islands, tuple):
        teams += [(("islands", n, "team"), one.team) for n, one in enumerate(settings.islands)]
    for place, team in teams:
        for n, name in enumerate(team):
            if name not in agents:
                yield (*place, n), f"is {shown(name)}, which is not an agent{nearest(name, agents)}"
            elif name in team[:n]:
                yield (*place, n), f"is {shown(name)}, which stands there already: delete one"
        models = [name for name in team if isinstance(settings.agents.get(name), ModelSection)]
        if IID in team and not models:
            yield place, "has iid, which samples a model of the same team: add one of its `agents`"
        if IID in team[:1]:
            yield place, "begins with iid, a control: put the model that it samples first"
    if IID in settings.agents:
        yield ("agents", IID), "is the name that plain sampling goes by: choose another"


def _repetitions(settings: Settings) -> Iterator[Problem]:
    """Yield paths and names that are used twice or are reserved, and a promotion too small."""
    for n, path in enumerate(settings.genome):
        if path == NAME:
            yield ("genome", n), "may not be program.md itself: agents never change it"
        for other in settings.genome[:n]:
            if _covers(other, path) or _covers(path, other):
                yield ("genome", n), f"covers the same files as {shown(other)}: keep one of them"
    promotion = settings.promotion
    if promotion.max_trials < promotion.min_trials:
        yield (
            ("promotion", "max_trials"),
            f"is too few for the stack alone: set {promotion.min_trials} or more",
        )
    if isinstance(settings.islands, tuple):
        names = [island.name for island in settings.islands]
        for n, name in enumerate(names):
            if name in (CONSENSUS, "pr"):
                yield (
                    ("islands", n, "name"),
                    f"is {shown(name)}, the name of another branch of the run: choose another",
                )
            if name in names[:n]:
                yield (
                    ("islands", n, "name"),
                    f"is {shown(name)}, as another island's is: choose another",
                )


def _missing_files(settings: Settings, files: Collection[str] | None) -> Iterator[Problem]:
    """Yield the genome's paths that the repository lacks, and a missing or ambiguous entry."""
    if files is None or settings.task not in tasks.NAMES:
        return
    missing = False
    for n, path in enumerate(settings.genome):
        if not any(_covers(path, file) for file in files):
            missing = True
            yield ("genome", n), f"is {shown(path)}, which does not exist{nearest(path, files)}"
    entries, name = _entries(settings, files), tasks.kind(settings.task).entry
    if name and len(entries) != 1 and not missing:
        yield ("genome",), f"must hold one file {name} for task {settings.task}, not {len(entries)}"
