"""Factory of coding agents: checks at launch what only the user can fix."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path

from harness.contract import SetupError
from harness.sandbox import check
from islands.environment import secret
from swarm.agents.external.agent import CodingAgent
from swarm.agents.external.command import AnyCommand, first_word, named_files, started_by
from swarm.agents.external.command_line import CommandLine
from swarm.agents.external.installation import Installation, find, minimal
from swarm.agents.external.kinds import KNOWN
from swarm.agents.external.settings import ExternalSettings
from swarm.agents.gateway.gateway import Gateway
from swarm.agents.llm.agent import UsageCallback, ignore_usage
from swarm.agents.llm.factory import check_price, read_key
from swarm.agents.llm.settings import check_settings
from swarm.agents.questions import RunQuestions

RUNS_A_CORE = 2
"""Coding agents that run at one time for each core of the machine, on all islands together.

They mostly wait for their models. But each island asks for up to eight proposals ahead: eight runs
of opencode took 3.5 GB and all of two cores, which the trials needed."""


def _places() -> asyncio.Semaphore:
    return asyncio.Semaphore(RUNS_A_CORE * (os.cpu_count() or 1))


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where coding agents of a run work: what they may change, their logs, their sockets.

    `places`: how many may run at one time; the others wait.
    """

    genome: tuple[str, ...]
    logs: Path
    scratch: Path
    places: asyncio.Semaphore = field(default_factory=_places)


def make_coding_agent(  # noqa: PLR0913, PLR0917 - what all agents share, and what is told of them
    name: str,
    settings: ExternalSettings,
    gateway: Gateway,
    place: Workplace,
    on_usage: UsageCallback = ignore_usage,
    questions: RunQuestions | None = None,
) -> CodingAgent:
    """Return the agent `name`. Raises SetupError, with the fix, where it cannot work here."""
    try:
        check()
    except SetupError as error:
        raise SetupError(f"agent {name!r} runs in a sandbox of namespaces only: {error}") from None
    if settings.model is not None:
        check_settings(name, settings.model)
        check_price(name, settings.model, gateway.budget)
        read_key(name, settings.model)
    for folder in settings.mount:
        if not folder.exists():
            raise SetupError(
                f"agent {name!r} in program.md: `mount` names {folder}: no such folder"
            )
    for variable in settings.env:
        if not secret(variable):
            raise SetupError(f"agent {name!r} in program.md: `env` names {variable}: it is not set")
    found = installation(name, settings)
    return CodingAgent(
        name=name,
        settings=settings,
        line=command_line(settings, found),
        installation=found,
        gateway=gateway,
        genome=place.genome,
        home=place.logs,
        scratch=place.scratch,
        places=place.places,
        on_usage=on_usage,
        questions=questions,
    )


def command_line(settings: ExternalSettings, found: Installation) -> CommandLine:
    """Return the command line of an agent that is installed."""
    if settings.kind == "command":
        return AnyCommand(started_by(settings.command, found.words))
    return KNOWN[settings.kind]()


def installation(name: str, settings: ExternalSettings) -> Installation:
    """Return where agent `name` is installed. Raises SetupError, with the line that installs it."""
    where = f"agent {name!r} in program.md"
    if settings.kind == "command":
        program = first_word(settings.command)
        found = find(program)
        if found is None:
            raise SetupError(
                f"{where}: there is no {program!r} on PATH: install it, or correct `command`"
            )
        return Installation(
            found.words, minimal([*found.mounts, *named_files(settings.command)]), found.path
        )
    line = KNOWN[settings.kind]()
    found = find(line.program, settings.path, line.native)
    if found is None:
        place = settings.path or f"{line.program!r} on PATH"
        raise SetupError(
            f"{where} is {line.title}, and there is no {place}: install it (`{line.install}`),"
            " or name its executable in `path`"
        )
    return found
