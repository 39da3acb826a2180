"""Any command as a coding agent: `kind: command` with a `command:` line in program.md.

It runs by `sh -c` in the scratch copy, reads the prompt from its standard input, edits files there,
and prints a line `HYPOTHESIS: ...`; the last one counts. Exit status 0 and that line are its end.
A model's address and key are in the variables that common SDKs read.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
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


_WORD: Final = re.compile(
    r"""(?:\$\([^()]*\)|[^\s'"`\\;&|<>()]|\\.|'[^']*'|"(?:[^"\\]|\\.)*"|`[^`]*`)++""", re.DOTALL
)
"""A word as a shell reads it, with its quotes and substitutions."""

_ANY_WORD: Final = re.compile(r"[^\s;&|]\S*")
"""The same where a shell would go on: up to the next space."""

_SETS: Final = re.compile(r"[A-Za-z_]\w*\+?=")
"""The beginning of a word that sets a variable."""


def first_word(line: str) -> str:
    """Return the program that a command line starts: its first word that sets no variable."""
    start, end = _program_at(line)
    try:
        return " ".join(shlex.split(line[start:end]))
    except ValueError:  # a quote that does not close
        return line[start:end]


def started_by(line: str, words: tuple[str, ...]) -> str:
    """Return the command line with its program replaced by the words that start it in a sandbox."""
    start, end = _program_at(line)
    return f"{line[:start]}{shlex.join(words)}{line[end:]}"


def _program_at(line: str) -> tuple[int, int]:
    """Return where the program of a command line begins and ends; without one, all of it."""
    spans = _words_at(line)
    return next((span for span in spans if not _SETS.match(line, span[0])), (0, len(line)))


def _words_at(line: str) -> Iterator[tuple[int, int]]:
    """Yield where each word of a command line begins and ends."""
    place = 0
    while found := _ANY_WORD.search(line, place):
        word = _WORD.match(line, found.start()) or found
        yield word.span()
        place = word.end()


def named_files(line: str) -> list[Path]:
    """Return the files that a command line names by absolute paths: its sandbox shows them."""
    try:
        words = [Path(word) for word in shlex.split(line)[1:] if word.startswith("/")]
    except ValueError:  # quotes of a shell's that this does not understand
        return []
    return [path for path in words if path.is_file()]
