"""The problem as the options of `swarm init` state it: its keys, what is missing, what is wrong."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from types import MappingProxyType

from harness.contract import SetupError
from swarm.init.commands import command_problem, file_problem
from swarm.init.offers import Offer
from swarm.init.sources import better
from swarm.init.worktree import Worktree
from swarm.project.frontmatter import Value
from swarm.project.program import read_program
from swarm.project.repository import PROGRAM
from swarm.project.schema.settings import DEFAULT_RUNG

COMMANDS: Mapping[str, str] = {
    "run": "--run",
    "score": "--score",
    "build": "--build",
    "prepare": "--prepare",
    "checks": "--check",
}
"""The option of each key that holds a command."""


@dataclass(frozen=True, slots=True)
class InitOptions:
    """What a user says of a problem; "", () and None where it is not said."""

    task: str = ""
    run: str = ""
    evaluate: str = ""
    metric: str = ""
    direction: str = ""
    genome: tuple[str, ...] = ()
    score: str = ""
    held: Mapping[str, str] = field(default_factory=dict)
    build: str = ""
    prepare: str = ""
    checks: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    python: str = ""
    mount: tuple[str, ...] = ()
    text: bool = False
    network: bool = False
    env: tuple[str, ...] = ()
    model: str = ""
    seconds: float | None = None
    memory_mib: int | None = None
    agent: str = ""

    def keys(self, old: Mapping[str, Value] = MappingProxyType({})) -> dict[str, Value]:
        """Return the keys of program.md that are said, without the others.

        Of its rungs in `old` what is not said stays.
        """
        given: dict[str, Value] = {
            "task": self.task or ("function" if self.evaluate else "command" if self.run else ""),
            "genome": [posixpath.normpath(path) for path in self.genome],
            "run": self.run,
            "evaluate": posixpath.normpath(self.evaluate) if self.evaluate else "",
            "metric": self.metric,
            "direction": self.direction,
            "score": self.score,
            "held": dict(self.held),
            "build": self.build,
            "prepare": self.prepare,
            "checks": list(self.checks),
            "files": list(self.files),
            "python": self.python,
            "mount": list(self.mount),
            "text": self.text,
            "network": self.network,
            "env": list(self.env),
            "model": self._model(),
            "rungs": self._rungs(old.get("rungs")),
            "agent": self.agent,
        }
        return {key: value for key, value in given.items() if value}

    def _model(self) -> dict[str, Value]:
        if not self.model:
            return {}
        kind = "anthropic" if self.model.startswith("claude") else "openai"
        return {"kind": kind, "model": self.model}

    def _rungs(self, old: Value) -> list[Value]:
        """Return the rungs with the limits that are said of the first, [] where none is said."""
        seconds, memory = self.seconds, self.memory_mib
        if seconds is None and memory is None:
            return []
        rungs = old if isinstance(old, list) and old else [{}]
        first = rungs[0] if isinstance(rungs[0], dict) else {}
        default = {key: _plain(value) for key, value in asdict(DEFAULT_RUNG).items()}
        said = {"seconds": _plain(seconds), "memory_mib": memory}
        given = {key: value for key, value in said.items() if value is not None}
        return [{**default, **first, **given}, *rungs[1:]]

    def missing(self, existing: Collection[str] = ()) -> list[str]:
        """Return the options that are needed and not given, keys `existing` in program.md aside."""
        needed = {
            "--run COMMAND": bool(self.run or self.evaluate or {"run", "evaluate"} & {*existing}),
            "--metric NAME": bool(self.metric or "metric" in existing),
            "--maximize or --minimize": bool(self.direction or "direction" in existing),
            "--genome PATH": bool(self.genome or "genome" in existing),
        }
        return [option for option, given in needed.items() if not given]

    def with_offer(self, offer: Offer) -> InitOptions:
        """Return these options, completed by what `offer` says of the same command."""
        given, offered = (self.run, self.evaluate), (offer.run, offer.evaluate)
        if any(given) and given != offered:
            return replace(self, checks=self.checks or offer.checks)
        metric = self.metric or (offer.metrics[0] if offer.metrics else "")
        return replace(
            self,
            run=offer.run,
            evaluate=offer.evaluate,
            metric=metric,
            direction=self.direction or better(metric),
            genome=self.genome or offer.genome,
            build=self.build or offer.build,
            prepare=self.prepare or offer.prepare,
            checks=self.checks or offer.checks,
        )

    def given(self) -> list[str]:
        """Return the options that are said beside --task."""
        names = {"direction": f"--{self.direction}", "checks": "--check"}
        default = InitOptions()
        return [
            names.get(key.name, f"--{key.name.replace('_', '-')}")
            for key in fields(self)
            if key.name != "task" and getattr(self, key.name) != getattr(default, key.name)
        ]

    def command_line(self) -> str:
        """Return `swarm init` with the main options, a capital word for what is not known."""
        measure = ("--evaluate", self.evaluate) if self.evaluate else ("--run", self.run)
        words = ["swarm", "init", measure[0], shlex.quote(measure[1]) if measure[1] else "COMMAND"]
        words += ["--metric", shlex.quote(self.metric) if self.metric else "NAME"]
        words.append(f"--{self.direction}" if self.direction else "--maximize")
        for path in self.genome or ("PATH",):
            words += ["--genome", shlex.quote(path)]
        for key in ("build", "prepare"):
            if getattr(self, key):
                words += [COMMANDS[key], shlex.quote(getattr(self, key))]
        for check in self.checks:
            words += ["--check", shlex.quote(check)]
        return " ".join(words)


def _plain(number: float | None) -> float | int | None:
    """Return a whole number without its point."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


def require_sound(options: InitOptions, tree: Worktree) -> None:
    """Raise SetupError with a line for each command or path that cannot be meant."""
    problems = [f"{option} {problem}" for option, problem in _problems(options, tree) if problem]
    if problems:
        raise SetupError("\n".join(problems))


def _problems(options: InitOptions, tree: Worktree) -> Iterator[tuple[str, str]]:
    for key, option in COMMANDS.items():
        given = getattr(options, key)
        for command in given if isinstance(given, tuple) else (given,) if given else ():
            built = bool(options.build) and key != "build"
            yield option, command_problem(command, tree, built=built)
    paths = [("--genome", path) for path in options.genome]
    paths += [("--files", path) for path in options.files]
    paths += [("--held", path) for path in options.held.values()]
    paths += [("--evaluate", options.evaluate)] if options.evaluate else []
    for option, path in paths:
        yield option, file_problem(path, tree)


def require_readable(program: str, tree: Worktree) -> None:
    """Raise SetupError where a launch would refuse the text of `program`."""
    read_program(program, PROGRAM, sorted(tree.files | {PROGRAM}))
