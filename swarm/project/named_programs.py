"""Programs that program.md names by a path and that would not start: found before a run exists.

`run`, `score`, `build` and `prepare` are tried on the base before its first run; `checks` come
later, and `notify` not before the first news.

Not covered: names without a slash (a shell has commands of its own), what a shell would fill in,
and programs that a build, `prepare` or a mounted folder may bring.
"""

from __future__ import annotations

import os
import posixpath
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from harness.contract import SetupError
from islands.git.plumbing import Plumbing
from islands.git.tracked import tracked_files
from swarm.project.command_words import started
from swarm.project.errors import nearest
from swarm.project.judge import EXECUTABLE, LINK
from swarm.project.program import Program

_SHELL = re.compile(r"[$`*?{<>|&;()\[\]]")
"""Characters that make a word another one, or end the command."""


def require_named_programs(repo: Path, commit: str, program: Program) -> None:
    """Raise SetupError with a line for each program that is named by a path and cannot start."""
    problems = [*_unfit_checks(repo, commit, program)]
    if problem := notify_problem(repo, program):
        problems.append(problem)
    if problems:
        raise SetupError("\n".join(problems))


def notify_problem(repo: Path, program: Program) -> str:
    """Return why the `notify` of `program` cannot start, in a line with the fix; "" if it can."""
    named = _named_path(program.settings.notify or "")
    path = repo / Path(named).expanduser()
    if not named or (os.access(path, os.X_OK) and path.is_file()):
        return ""
    if path.is_file():
        return f"{program.path}: notify: {named} is not executable: `chmod +x {shlex.quote(named)}`"
    return f"{program.path}: notify: {named} does not exist in {repo}: correct the path"


def _unfit_checks(repo: Path, commit: str, program: Program) -> Iterator[str]:
    """Yield a line for each check whose program is no executable file of `commit`."""
    settings = program.settings
    named = [_named_path(check) for check in settings.checks or ()]
    own = [path for path in named if path and not path.startswith(("/", "~"))]
    if not own or settings.build or settings.prepare or settings.mount:
        return
    folder = posixpath.dirname(program.path)
    modes = {file.path: file.mode for file in tracked_files(Plumbing(repo), commit)}
    for path in own:
        file = posixpath.normpath(posixpath.join(folder, path))
        mode = modes.get(file)
        if mode is None:
            yield f"{program.path}: checks: {path} is not in the commit{nearest(file, modes)}"
        elif mode not in (EXECUTABLE, LINK):
            fix = f"`git update-index --chmod=+x {shlex.quote(path)}` and commit it"
            yield f"{program.path}: checks: {path} is not executable: {fix}"


def _named_path(command: str) -> str:
    """Return the program of a command line where it is a plain path, "" otherwise."""
    try:
        first, *_ = started(command) or [""]
    except ValueError:
        return ""
    return first if "/" in first and not _SHELL.search(first) else ""
