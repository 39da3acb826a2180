"""The script that `run` starts and that prints the metric, where a candidate may change it itself.

A number that is printed where a candidate's code runs is reported anyway; here no other code stands
between them.

Not covered: scripts that a shell, make or npm starts in turn.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator, Sequence

from harness.problem.measures import is_measured
from harness.problem.project_runners import without_runner
from swarm.project.program import Program

_SCRIPT_RUNNERS = re.compile(r"python[\d.]*|node|deno|bun|ruby|perl|Rscript|bash|sh|julia|php")
_PYTHON = re.compile(r"python[\d.]*")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*")


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


def printing_script(program: Program) -> str:
    """Return the path, in the repository, of a script in the genome that prints the metric.

    Returns "" where there is none, and where a scorer or the harness takes the metric.
    """
    settings = program.settings
    measured = isinstance(settings.metric, str) and is_measured(settings.metric)
    if not settings.run or settings.score or settings.text or measured:
        return ""
    folder = posixpath.dirname(program.path)
    for word in _scripts(settings.run):
        path = posixpath.normpath(posixpath.join(folder, word))
        if any(path == place or path.startswith(f"{place}/") for place in settings.genome):
            return path
    return ""


def _scripts(command: str) -> Iterator[str]:
    """Yield the paths that may be what a command line starts: of a module, its files."""
    try:
        words = shlex.split(without_runner(command))
    except ValueError:
        return
    while words and _ASSIGNMENT.fullmatch(words[0]):
        words = words[1:]
    if not words:
        return
    program, arguments = words[0], words[1:]
    if "/" in program:
        yield program
    if script := script_of(posixpath.basename(program), arguments):
        yield script
    elif _PYTHON.fullmatch(posixpath.basename(program)) and "-m" in arguments[:-1]:
        module = arguments[arguments.index("-m") + 1].replace(".", "/")
        yield from (f"{module}.py", f"{module}/__main__.py")
