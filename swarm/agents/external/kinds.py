"""The coding agents that swarm knows, by the `kind` of program.md."""

from __future__ import annotations

from swarm.agents.external.aider import Aider
from swarm.agents.external.claude_code import ClaudeCode
from swarm.agents.external.codex import Codex
from swarm.agents.external.command_line import CommandLine
from swarm.agents.external.mini_swe_agent import MiniSweAgent
from swarm.agents.external.opencode import OpenCode
from swarm.agents.external.settings import ExternalKind

KNOWN: dict[ExternalKind, type[CommandLine]] = {
    "claude-code": ClaudeCode,
    "codex": Codex,
    "opencode": OpenCode,
    "mini-swe-agent": MiniSweAgent,
    "aider": Aider,
}
"""Those with an executable of their own; `command` is any other."""
