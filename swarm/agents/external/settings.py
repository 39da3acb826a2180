"""Settings of one external coding agent from program.md."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from swarm.agents.llm.settings import ModelSettings, ProviderKind

ExternalKind = Literal["claude-code", "codex", "opencode", "mini-swe-agent", "aider", "command"]

KINDS: tuple[ExternalKind, ...] = get_args(ExternalKind)

PROVIDERS: dict[ExternalKind, tuple[ProviderKind, ...]] = {
    "claude-code": ("anthropic",),
    "codex": ("openai",),
    "opencode": ("openai", "anthropic"),
    "mini-swe-agent": ("openai", "anthropic"),
    "aider": ("openai", "anthropic"),
    "command": ("openai", "anthropic"),
}
"""The wire formats that each kind speaks, the usual one first."""

MODELS: dict[ProviderKind, str] = {"anthropic": "claude-sonnet-5-5", "openai": "gpt-6-luna"}
"""A model of each provider, for examples."""


@dataclass(frozen=True, slots=True)
class ExternalSettings:
    """Settings of one external coding agent.

    - `kind`: whose command line it is
    - `model`: the model that it is given by the gateway; None for a command without one
    - `path`: its executable; "": found on PATH
    - `command`: the command line, for `kind: command` alone
    - `seconds`: wall time of one proposal
    - `max_turns`: calls to the model in one proposal
    - `max_usd`: dollars of one proposal, looked at after each answer; None: the run's limit alone
    - `memory_mib`: memory of all its processes and files
    - `network`: whether it has the host's network, where nothing is metered
    - `env`: names of variables that it is given
    - `mount`: folders of this machine that it may read
    """

    kind: ExternalKind
    model: ModelSettings | None = None
    path: str = ""
    command: str = ""
    seconds: float = 900.0
    max_turns: int = 40
    max_usd: float | None = None
    memory_mib: int = 2048
    network: bool = False
    env: tuple[str, ...] = ()
    mount: tuple[Path, ...] = ()

    @property
    def wire(self) -> str:
        """The path below /v1 at which its agent calls the model; "" without one."""
        if self.model is None:
            return ""
        if self.model.kind == "anthropic":
            return "messages"
        return "responses" if self.kind == "codex" else "chat/completions"

    @property
    def metered(self) -> bool:
        """Whether all that it spends passes through the gateway."""
        return not self.network
