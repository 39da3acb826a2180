"""mini-swe-agent: one shell in a loop; its trajectory file says how it ended.

It starts in an empty folder, since `-c mini.yaml` would take a planted one of its working folder
first; its commands run in the scratch copy. It has no tool but the shell, and ends by a command
that prints a marker.
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
from swarm.agents.external.sandbox import HOME, SCRATCH

SETTINGS, TRAJECTORY, TASK_FILE = "swarm.yaml", "trajectory.json", "task.md"

MAX_WORD_BYTES: Final = 100_000
"""An argument may have 128 KiB; a longer prompt is put into a file."""

FINISH: Final = """
When you have finished, run this as your last command, on its own, with your hypothesis in it:

echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && echo 'HYPOTHESIS: what you changed, and why'
"""


class MiniSweAgent:
    """The command line of mini-swe-agent, as of version 2.4."""

    title = "mini-swe-agent"
    program = "mini"
    version_words = ("--help",)  # it has no --version, and prints it first
    native = ""
    install = "pipx install mini-swe-agent"
    asks_by: AsksBy = "shell"

    def invocation(self, task: Assignment) -> Invocation:
        """Return the command; the prompt is an argument of it, or in a file that one names."""
        prompt = task.prompt + FINISH
        files = {SETTINGS: json.dumps(_settings(task))}  # JSON is YAML
        if len(prompt.encode()) > MAX_WORD_BYTES:
            files[TASK_FILE] = prompt
            prompt = f"Read {HOME}/{TASK_FILE} to its end and do what it says."
        words = (
            *("-c", "mini.yaml", "-c", f"{HOME}/{SETTINGS}", "-t", prompt, "-y"),
            *("--exit-immediately", "-o", f"{HOME}/{TRAJECTORY}"),
        )
        env = {
            "MSWEA_CONFIGURED": "true",
            "MSWEA_SILENT_STARTUP": "1",
            "MSWEA_COST_TRACKING": "ignore_errors",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "OPENAI_API_KEY": task.token,
            "ANTHROPIC_API_KEY": task.token,
        }
        report = (f"{HOME}/{TRAJECTORY}", "info")
        return Invocation(words, env, "", files, cwd=f"{HOME}/empty", report=report)

    def ending(self, output: str, code: int) -> RunEnd:
        """Return what it submitted; it exits with 0 at its limits too."""
        del code
        reports = [line for line in json_lines(output) if "exit_status" in line]
        if not reports:
            return RunEnd(ended=False, error=last_line(output))
        status = str(reports[-1].get("exit_status"))
        submission = str(reports[-1].get("submission") or "")
        if status != "Submitted":
            return RunEnd(ended=False, error=f"{status}: {submission}".rstrip(": "))
        return RunEnd(ended=True, text=submission)


def _settings(task: Assignment) -> dict[str, object]:
    base = f"{task.url}/v1" if task.provider == "openai" else task.url
    return {
        "agent": {"mode": "yolo", "step_limit": task.max_turns, "cost_limit": 0},
        "environment": {"cwd": SCRATCH},
        "model": {
            "model_name": f"{task.provider}/{task.model}",
            "model_kwargs": {"api_base": base, "max_tokens": task.max_output_tokens},
            "cost_tracking": "ignore_errors",
        },
    }
