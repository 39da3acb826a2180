"""Keys of external coding agents in program.md that contradict their kind, or each other."""

from __future__ import annotations

from collections.abc import Iterator

from swarm.agents.external.settings import MODELS, PROVIDERS
from swarm.project.errors import Problem
from swarm.project.schema.agents import ExternalSection
from swarm.project.schema.settings import Settings


def unfit_coding_agents(settings: Settings) -> Iterator[Problem]:
    """Yield a problem for each key that an external coding agent lacks or does not take."""
    for name, agent in settings.agents.items():
        if isinstance(agent, ExternalSection):
            for key, text in _unfit(agent):
                yield ("agents", name, key), text


def _unfit(agent: ExternalSection) -> Iterator[tuple[str, str]]:
    providers = PROVIDERS[agent.kind]
    if agent.login and agent.kind != "codex":
        yield (
            "login",
            "is codex's; Claude Code's is `api_key_env: CLAUDE_CODE_OAUTH_TOKEN`: delete it",
        )
    if agent.login and agent.api_key_env is not None:
        yield "api_key_env", "names a key, and `login: true` says that a login pays: delete one"
    if agent.provider is not None and agent.provider not in providers:
        yield (
            "provider",
            f"must be {providers[0]} for {agent.kind}, which speaks no other: delete it",
        )
    if agent.kind == "command":
        yield from _unfit_command(agent)
        return
    if agent.model is None:
        model = MODELS[agent.provider or providers[0]]
        yield "model", f"is missing: add `model: {model}`, or another that you use"
    for key in ("command", "network", "env"):
        if getattr(agent, key):
            yield key, f"is only for `kind: command`, and this is {agent.kind}: delete it"


def _unfit_command(agent: ExternalSection) -> Iterator[tuple[str, str]]:
    if agent.command is None:
        yield "command", "is missing: add `command: my-agent --edit`, a command line"
    if agent.path is not None:
        yield "path", "is not for `kind: command`: name the executable in `command`, or delete it"
    if agent.env and not agent.network:
        yield "env", "reaches nothing without network: add `network: true`, or delete it"
    if agent.model is not None and agent.network:
        yield (
            "network",
            "is for agents that take no base URL, and `model` says that this one does: delete one",
        )
    given = ("provider", "base_url", "api_key_env", "price", "max_turns", "max_usd")
    idle = [key for key in given if getattr(agent, key) is not None]
    if agent.model is None and idle:
        yield (
            idle[0],
            "says how its model is reached, and `model` is missing: add it, or delete this",
        )
