"""Claude Code: `claude -p`, one JSON object a line, the last one the result.

Only `--setting-sources ''` with `--strict-mcp-config` keeps a planted `.claude/settings.json` from
running hooks and from moving the base URL; `--bare` and `--safe-mode` alone do not. The shell is
left out of its tools: `acceptEdits` would let some commands through unasked, and each tool's
description is paid for in every call.

Not covered: a model that Claude Code does not know is asked in the form of one that it knows.
"""

from __future__ import annotations

import json
from typing import Final

from swarm.agents.external.command_line import (
    AsksBy,
    Assignment,
    Invocation,
    RunEnd,
    json_lines,
    last_line,
)
from swarm.agents.external.desk import MCP

TOOLS: Final = "Read,Edit,Write,Glob,Grep"


class ClaudeCode:
    """The command line of Claude Code, as of version 2.1."""

    title = "Claude Code"
    program = "claude"
    version_words = ("--version",)
    native = ""
    install = "npm install -g @anthropic-ai/claude-code@latest"
    asks_by: AsksBy = "mcp"

    def invocation(self, task: Assignment) -> Invocation:
        """Return the command; the prompt is its standard input."""
        words = (
            "-p",
            *("--output-format", "stream-json", "--verbose"),
            *("--model", task.model),
            *("--max-turns", str(task.max_turns)),
            *("--tools", TOOLS),
            *("--permission-mode", "acceptEdits"),
            *("--setting-sources", ""),
            "--strict-mcp-config",
            "--disable-slash-commands",
            "--no-session-persistence",
            *(_asking() if task.asks else ()),
        )
        env = {
            "ANTHROPIC_BASE_URL": task.url,
            "ANTHROPIC_API_KEY": task.token,
            "ANTHROPIC_DEFAULT_HAIKU_MODEL": task.model,  # its small side calls
            "CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(task.max_output_tokens),
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_MAX_RETRIES": "2",
            "API_TIMEOUT_MS": str(int(1000 * task.seconds)),
            "DISABLE_AUTOUPDATER": "1",
        }
        return Invocation(words, env, task.prompt)

    def ending(self, output: str, code: int) -> RunEnd:
        """Return what its result line says; an error of the API calls itself a success there."""
        del code
        results = [line for line in json_lines(output) if line.get("type") == "result"]
        if not results:
            return RunEnd(ended=False, error=last_line(output))
        result = results[-1]
        session = str(result.get("session_id", ""))
        text = str(result.get("result") or "")
        if result.get("is_error") or result.get("subtype") != "success":
            why = result.get("terminal_reason") or result.get("subtype") or "error"
            return RunEnd(ended=False, error=f"{why}: {text}".rstrip(": "), session=session)
        return RunEnd(ended=True, text=text, session=session)


def _asking() -> tuple[str, ...]:
    """Return the words by which it may ask the run."""
    server = {"command": MCP[0], "args": list(MCP[1:])}
    return (
        *("--mcp-config", json.dumps({"mcpServers": {"swarm": server}})),
        *("--allowedTools", "mcp__swarm__tried,mcp__swarm__preflight"),
    )
