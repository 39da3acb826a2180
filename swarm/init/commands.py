"""Checks a command line before it is written to program.md: its program and its files exist.

Not covered: what a shell, npm or make would start in turn; modules of installed packages.
"""

from __future__ import annotations

import posixpath
import shlex
import shutil
from pathlib import Path

from harness.problem.project_runners import without_runner
from swarm.init.worktree import Worktree
from swarm.project.command_words import is_python, script_of, started
from swarm.project.errors import nearest

_NEEDED_FILES = {
    "make": ("Makefile", "makefile", "GNUmakefile"),
    "npm": ("package.json",),
    "npx": ("package.json",),
    "cargo": ("Cargo.toml",),
    "go": ("go.mod",),
    "mvn": ("pom.xml",),
    "gradle": ("build.gradle", "build.gradle.kts"),
}
"""Files of which each program needs one."""


def command_problem(command: str, tree: Worktree, *, built: bool = False) -> str:
    """Return what is wrong with `command` in `tree`, with the fix; "" where nothing is.

    With `built` a program of the repository may be missing: a build step makes it.
    """
    try:
        words = started(without_runner(command))
    except ValueError as error:
        return f"cannot be read as a command ({error}): check its quotes"
    if not words:
        return "is empty: name the command"
    program, arguments = words[0], words[1:]
    if "/" in program and not posixpath.isabs(program):
        return "" if built else file_problem(program, tree)
    name = posixpath.basename(program)
    needed = _NEEDED_FILES.get(name, ())
    if needed and "-C" not in arguments and not any(file in tree.files for file in needed):
        return f"needs a {needed[0]} here, and none is tracked: add it, or run it elsewhere"
    if not is_python(name) and shutil.which(program) is None:
        return f"starts {program!r}, which is not installed here: install it, or correct the name"
    script = script_of(name, arguments)
    return file_problem(script, tree) if script else ""


def file_problem(path: str, tree: Worktree) -> str:
    """Return why `path` is no tracked file or folder of `tree`, with the fix; "" where it is."""
    path = posixpath.normpath(path)
    if path == "." or path in tree.files or any(file.startswith(f"{path}/") for file in tree.files):
        return ""
    if problem := _outside(path, tree):
        return problem
    if (tree.folder / path).exists():
        return f"names {path}, which is not tracked: `git add {shlex.quote(path)}`"
    return f"names {path}, which does not exist{nearest(path, tree.files)}"


def _outside(path: str, tree: Worktree) -> str:
    """Return why `path` leads out of the folder of program.md, with the fix; "" where it stays.

    A link is taken for itself: git tracks it, wherever it leads.
    """
    if not posixpath.isabs(path) and path.split("/", maxsplit=1)[0] != "..":
        return ""
    named = Path(posixpath.normpath(tree.folder / path))
    place = named.parent.resolve() / named.name
    if place.is_relative_to(tree.folder):
        return f"names {path}: write `{place.relative_to(tree.folder)}`, as from {tree.folder}"
    if place.is_relative_to(tree.root.resolve()):
        return f"names {path}, which is above program.md: make program.md in a folder above both"
    return f"names {path}, which is outside the repository: copy it into the repository first"
