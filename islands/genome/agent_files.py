"""Names of the files by which coding agents take instructions and configuration from a folder.

A candidate that was kept with such a file could instruct every later agent, or run code in it. So
a genome that is a folder takes none (`admission`), and no coding agent is given one
(swarm/agents/external/scratch.py).
"""

from __future__ import annotations

from typing import Final

NAMES: Final = frozenset(
    {
        "agent.md",
        "agents.md",
        "agents.override.md",
        "claude.md",
        "claude.local.md",
        "codex.md",
        "conventions.md",
        "copilot-instructions.md",
        "gemini.md",
        "opencode.json",
        "opencode.jsonc",
        "qwen.md",
        "skill.md",
        "warp.md",
    }
)
"""In lower case: some file systems do not tell cases apart. All others begin with a dot."""


def instructs_agents(path: str) -> bool:
    """Return whether a coding agent may take the file `path` for instructions or configuration."""
    parts = path.split("/")
    return parts[-1].casefold() in NAMES or any(part.startswith(".") for part in parts)
