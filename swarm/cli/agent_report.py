"""The lines by which `doctor` tells which coding agents are installed, and how to use them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from harness.contract import SetupError
from islands.environment import secret
from swarm.agents.external.installation import find
from swarm.agents.external.kinds import KNOWN
from swarm.agents.external.probe import version
from swarm.agents.external.settings import MODELS, PROVIDERS, ExternalKind
from swarm.agents.llm.login import LOGIN_FILE, read_login
from swarm.agents.llm.settings import DEFAULT_KEY_ENVS

CLAUDE_LOGIN: Final = "CLAUDE_CODE_OAUTH_TOKEN"
"""The variable that holds what `claude setup-token` prints."""


@dataclass(frozen=True, slots=True)
class AgentDiagnosis:
    """What this machine has of one coding agent.

    - `kind`, `title`: in program.md, and for people
    - `path`: its executable; "": it is not on PATH
    - `version`: what it printed in a sandbox; "": it did not start
    - `problem`: what to do before it can be used, in a line; "": nothing
    - `line`: what to add to program.md
    """

    kind: ExternalKind
    title: str
    path: str
    version: str
    problem: str
    line: str


def diagnose_agents() -> tuple[AgentDiagnosis, ...]:
    """Look for each coding agent that swarm knows; those installed are started once."""
    return tuple(asyncio.run(_diagnose(kind)) for kind in KNOWN)


async def _diagnose(kind: ExternalKind) -> AgentDiagnosis:
    line, provider = KNOWN[kind](), PROVIDERS[kind][0]
    path = told = problem = login = ""
    try:
        found = find(line.program, native=line.native)
        if found is None:
            problem = f"not installed: `{line.install}`"
        else:
            path = str(found.path)
            told = await version(line, found)
            if not secret(DEFAULT_KEY_ENVS[provider]):
                login = _login(kind)
                problem = "" if login else f"{DEFAULT_KEY_ENVS[provider]} is not set"
    except SetupError as error:
        problem = str(error)
    wanted = f"{{kind: {kind}, model: {MODELS[provider]}{login}}}"
    return AgentDiagnosis(
        kind, line.title, path, told, problem, f"agents: {{{kind}: {wanted}}}, agent: {kind}"
    )


def _login(kind: ExternalKind) -> str:
    """Return the key of program.md by which a subscription pays, "" where there is none."""
    if kind == "claude-code" and secret(CLAUDE_LOGIN):
        return f", api_key_env: {CLAUDE_LOGIN}"
    try:
        if kind == "codex" and read_login(kind, LOGIN_FILE).token:
            return ", login: true"
    except SetupError:
        pass
    return ""


def agent_lines(agents: tuple[AgentDiagnosis, ...]) -> Iterator[str]:
    """Yield a line for each coding agent, and one to add to program.md where it starts."""
    for agent in agents:
        if not agent.version:
            yield f"agent {agent.kind}: {agent.problem}"
            continue
        but = f", but {agent.problem}" if agent.problem else ""
        yield f"agent {agent.kind}: {agent.title} {agent.version} at {agent.path}{but}"
        for part in agent.line.split(", agent: "):
            yield f"  {part}" if part.startswith("agents:") else f"  agent: {part}"
