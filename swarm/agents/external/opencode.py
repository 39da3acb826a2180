"""opencode: `opencode run --format json`, events as lines of JSON.

`--pure` alone leaves a planted `opencode.json` its MCP commands and formatters;
OPENCODE_DISABLE_PROJECT_CONFIG takes those too. It prints no line at its end: the last step's
reason is one. It has no limit on turns: `max_turns` ends it from outside.
"""

from __future__ import annotations

import json
from typing import Any, Final

from swarm.agents.external.command_line import (
    AsksBy,
    Assignment,
    Invocation,
    RunEnd,
    json_lines,
    last_line,
)
from swarm.agents.external.desk import MCP
from swarm.agents.external.sandbox import HOME
from swarm.agents.llm.settings import ProviderKind

CONFIG = "opencode-settings.json"

_PACKAGES: dict[ProviderKind, str] = {
    "openai": "@ai-sdk/openai-compatible",
    "anthropic": "@ai-sdk/anthropic",
}

_OFF = (
    *("PROJECT_CONFIG", "AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD", "DEFAULT_PLUGINS"),
    *("CLAUDE_CODE", "CLAUDE_CODE_PROMPT", "CLAUDE_CODE_SKILLS", "EXTERNAL_SKILLS", "SHARE"),
)

_ASKING: Final = {"type": "local", "command": list(MCP), "enabled": True}


class OpenCode:
    """The command line of opencode, as of version 1.18."""

    title = "opencode"
    program = "opencode"
    version_words = ("--version",)
    native = ""
    install = "npm install -g opencode-ai@latest"
    asks_by: AsksBy = "mcp"

    def invocation(self, task: Assignment) -> Invocation:
        """Return the command; the prompt is its standard input."""
        words = (
            *("run", "--pure", "--title", "proposal", "--format", "json"),
            *("-m", f"gateway/{task.model}"),
        )
        env = {"OPENCODE_CONFIG": f"{HOME}/{CONFIG}", "SWARM_GATEWAY_KEY": task.token}
        env["OPENCODE_DB"] = ":memory:"  # SQLite's locks are not there in a sandbox
        env |= {f"OPENCODE_DISABLE_{name}": "1" for name in _OFF}
        return Invocation(words, env, task.prompt, {CONFIG: json.dumps(_config(task))})

    def ending(self, output: str, code: int) -> RunEnd:
        """Return its last text, where its last step says that it has stopped."""
        text, session, error, reason = "", "", "", ""
        for line in json_lines(output):
            part = line.get("part")
            part = part if isinstance(part, dict) else {}
            session = str(line.get("sessionID") or session)
            match line.get("type"):
                case "text":
                    text = str(part.get("text", ""))
                case "step_finish":
                    reason = str(part.get("reason", ""))
                case "error":
                    error = _message(line.get("error"))
        if not code and reason == "stop" and not error:
            return RunEnd(ended=True, text=text, session=session)
        return RunEnd(ended=False, error=error or last_line(output), session=session)


def _config(task: Assignment) -> dict[str, Any]:
    context = {"context": 200_000, "output": task.max_output_tokens}
    model: dict[str, Any] = {"limit": context}
    if task.price is not None:
        price = task.price
        model["cost"] = {
            "input": price.input,
            "output": price.output,
            "cache_read": price.cache_read,
            "cache_write": price.cache_write,
        }
    provider = {
        "npm": _PACKAGES[task.provider],
        "options": {"baseURL": f"{task.url}/v1", "apiKey": "{env:SWARM_GATEWAY_KEY}"},
        "models": {task.model: model},
    }
    denied = dict.fromkeys(("bash", "webfetch", "external_directory"), "deny")
    return {
        "autoupdate": False,
        "share": "disabled",
        "enabled_providers": ["gateway"],
        "small_model": f"gateway/{task.model}",
        "permission": {"edit": "allow", **denied},
        "provider": {"gateway": provider},
        **({"mcp": {"swarm": _ASKING}} if task.asks else {}),
    }


def _message(error: object) -> str:
    """Return the message of an error event, however deep it lies."""
    found = error
    for key in ("data", "message"):
        found = found.get(key, found) if isinstance(found, dict) else found
    return str(found)
