"""aider: one call of the model, edits as SEARCH/REPLACE blocks that it applies itself.

Its working folder is an empty one, and the files are named by absolute paths: in the scratch copy a
planted `.env` would move the base URL, and `.aider.conf.yml` run commands, whatever is passed. It
exits with 0 at an error too: the line of tokens, which it prints after an answer, is its end.
"""

from __future__ import annotations

import re
from typing import Final

from swarm.agents.external.command_line import (
    AsksBy,
    Assignment,
    Invocation,
    RunEnd,
    hypothesis,
    last_line,
)
from swarm.agents.external.sandbox import HOME, SCRATCH

PROMPT_FILE: Final = "prompt/task.md"

_TOKENS = re.compile(r"^Tokens: .* sent, .* received\.", re.MULTILINE)

_OPTIONS: Final = (
    *("--yes-always", "--no-git", "--no-check-update", "--no-show-model-warnings"),
    *("--no-show-release-notes", "--no-analytics", "--no-pretty", "--no-stream"),
    *("--no-auto-lint", "--no-auto-test", "--no-suggest-shell-commands", "--no-detect-urls"),
    *("--map-tokens", "0", "--edit-format", "diff"),
    *("--input-history-file", "/dev/null", "--chat-history-file", "/dev/null"),
)


class Aider:
    """The command line of aider, as of version 0.86."""

    title = "aider"
    program = "aider"
    version_words = ("--version",)
    native = ""
    install = "pipx install aider-chat"
    asks_by: AsksBy = ""

    def invocation(self, task: Assignment) -> Invocation:
        """Return the command; the prompt is a file that it reads."""
        words = (
            *("--model", f"{task.provider}/{task.model}"),
            *("--message-file", f"{HOME}/{PROMPT_FILE}"),
            *_OPTIONS,
            *(f"{SCRATCH}/{path}" for path in task.paths),
        )
        env = {
            "OPENAI_API_BASE": f"{task.url}/v1",
            "OPENAI_API_KEY": task.token,
            "ANTHROPIC_API_BASE": task.url,
            "ANTHROPIC_API_KEY": task.token,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
        return Invocation(words, env, "", {PROMPT_FILE: task.prompt}, cwd=f"{HOME}/empty")

    def ending(self, output: str, code: int) -> RunEnd:
        """Return its answer, where a line of tokens says that there was one."""
        tokens = _TOKENS.search(output)
        if code or tokens is None:
            return RunEnd(ended=False, error=_error(output) or last_line(output))
        found = hypothesis(output)
        return RunEnd(ended=True, text=f"HYPOTHESIS: {found}" if found else "")


def _error(output: str) -> str:
    """Return the last line that names an error of the model's."""
    lines = [line for line in output.splitlines() if "Error" in line]
    return lines[-1].strip() if lines else ""
