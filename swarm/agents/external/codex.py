"""Codex: `codex exec --json`, events as lines of JSON.

Its own sandbox does not nest in ours: its commands would fail, and it would end well with nothing
changed. So it runs without, and ours confines it. A provider of our own avoids the seven tries of a
WebSocket that the built-in one begins with. It has no limit on turns: `max_turns` ends it from
outside. Without knowledge of a model it edits through the shell.
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

KEY: Final = "SWARM_GATEWAY_KEY"


class Codex:
    """The command line of Codex, as of version 0.171."""

    title = "Codex"
    program = "codex"
    version_words = ("--version",)
    native = "@openai/codex*/**/vendor/*/bin/codex"
    install = "npm install -g @openai/codex@latest"
    asks_by: AsksBy = "shell"

    def invocation(self, task: Assignment) -> Invocation:
        """Return the command; the prompt is its standard input."""
        provider = {
            "name": "gateway",
            "base_url": f"{task.url}/v1",
            "env_key": KEY,
            "wire_api": "responses",
            "request_max_retries": 1,
            "stream_max_retries": 1,
        }
        fields = ",".join(f"{key}={json.dumps(value)}" for key, value in provider.items())
        off = ("plugins", "apps", "remote_plugin", "hooks")
        options = (
            "project_doc_max_bytes=0",
            'web_search="disabled"',
            "analytics.enabled=false",
            "check_for_update_on_startup=false",
            'model_provider="gateway"',
            f"model_providers.gateway={{{fields}}}",
        )
        words = (
            *("exec", "--json", "--ephemeral", "--ignore-user-config", "--ignore-rules"),
            *("--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"),
            *("-m", task.model),
            *(word for name in off for word in ("--disable", name)),
            *(word for option in options for word in ("-c", option)),
            "-",
        )
        return Invocation(words, {KEY: task.token}, task.prompt)

    def ending(self, output: str, code: int) -> RunEnd:
        """Return its last message, where its turn was completed."""
        text, session, failed, completed = "", "", "", False
        for line in json_lines(output):
            item = line.get("item")
            match line.get("type"):
                case "thread.started":
                    session = str(line.get("thread_id", ""))
                case "item.completed" if isinstance(item, dict):
                    if item.get("type") == "agent_message":
                        text = str(item.get("text", ""))
                case "turn.completed":
                    completed = True
                case "turn.failed":
                    error = line.get("error")
                    failed = str(error.get("message") if isinstance(error, dict) else error)
        if completed and not code and not failed:
            return RunEnd(ended=True, text=text, session=session)
        return RunEnd(ended=False, error=failed or last_line(output), session=session)
