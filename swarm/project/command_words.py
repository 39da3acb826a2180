"""Words of a command line: the program that it starts, and the script that an interpreter runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*")
_PYTHON = re.compile(r"python[\d.]*")
_SCRIPT_RUNNERS = re.compile(
    rf"{_PYTHON.pattern}|node|deno|bun|ruby|perl|Rscript|bash|sh|julia|php"
)


def started(command: str) -> list[str]:
    """Return the program of a command line and its arguments; [] where it starts none.

    Assignments before the program are left out. Raises ValueError for quotes that do not close.
    """
    words = shlex.split(command)
    while words and _ASSIGNMENT.fullmatch(words[0]):
        words = words[1:]
    return words


def is_python(name: str) -> bool:
    """Return whether `name`, without its folder, is that of a Python."""
    return _PYTHON.fullmatch(name) is not None


def script_of(program: str, arguments: Sequence[str]) -> str:
    """Return the script that the interpreter `program` is to run, "" where the line names none."""
    if not _SCRIPT_RUNNERS.fullmatch(program):
        return ""
    for word in arguments:
        if word in ("-c", "-m", "-e", "--eval", "-p", "--print", "--test"):
            return ""
        if not word.startswith("-"):
            return word
    return ""
