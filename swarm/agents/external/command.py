"""Any command as a coding agent: `kind: command` with a `command:` line in program.md.

It runs by `sh -c` in the scratch copy, reads the prompt from its standard input, edits files there,
and prints a line `HYPOTHESIS: ...`; the last one counts. Exit status 0 and that line are its end.
A model's address and key are in the variables that common SDKs read.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

from swarm.agents.external.command_line import (
    AsksBy,
    Assignment,
    Invocation,
    RunEnd,
    hypothesis,
    last_line,
)

SHELL: Final = "/bin/sh"


class AnyCommand:
    """The command line of an agent that swarm does not know."""

    title = "a command of your own"
    version_words: tuple[str, ...] = ()
    native = ""
    install = ""
    asks_by: AsksBy = "shell"

    def __init__(self, line: str) -> None:
        self.line = line

    program = "sh"

    def invocation(self, task: Assignment) -> Invocation:
        """Return the command with the addresses of its model, if it has one."""
        env = {"SWARM_SECONDS": f"{task.seconds:g}", "SWARM_FILES": "\n".join(task.paths)}
        if task.url:
            env |= {
                "SWARM_MODEL": task.model,
                "ANTHROPIC_BASE_URL": task.url,
                "ANTHROPIC_API_KEY": task.token,
                "OPENAI_BASE_URL": f"{task.url}/v1",
                "OPENAI_API_BASE": f"{task.url}/v1",
                "OPENAI_API_KEY": task.token,
            }
        return Invocation(("-c", self.line), env, task.prompt, program=(SHELL,))

    def ending(self, output: str, code: int) -> RunEnd:
        """Return its last HYPOTHESIS line; without one, or with another status, it has failed."""
        if code:
            return RunEnd(
                ended=False, error=f"exit status {code}: {last_line(output)}".rstrip(": ")
            )
        found = hypothesis(output)
        if not found:
            return RunEnd(ended=False, error="it printed no line that begins with HYPOTHESIS:")
        return RunEnd(ended=True, text=f"HYPOTHESIS: {found}")


def first_word(line: str) -> str:
    """Return the program that a command line starts: its first word that sets no variable."""
    words = line.split()
    return next((word for word in words if "=" not in word), words[0])


def started_by(line: str, words: tuple[str, ...]) -> str:
    """Return the command line with its program replaced by the words that start it in a sandbox."""
    return line.replace(first_word(line), shlex.join(words), 1)


def named_files(line: str) -> list[Path]:
    """Return the files that a command line names by absolute paths: its sandbox shows them."""
    try:
        words = [Path(word) for word in shlex.split(line)[1:] if word.startswith("/")]
    except ValueError:  # quotes of a shell's that this does not understand
        return []
    return [path for path in words if path.is_file()]
