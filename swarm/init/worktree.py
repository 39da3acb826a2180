"""The user's working tree: what is tracked in it, and the two files that `swarm init` writes.

Files are written only after everything has been checked. A commit holds those two files and
nothing else, whatever else is staged or changed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from git import Git, GitCommandError

from harness.contract import SetupError
from swarm.project.repository import PROGRAM
from swarm.project.runs import HOME, repository

IGNORE_FILE = ".gitignore"

MESSAGE = "Add swarm's program.md"


@dataclass(frozen=True, slots=True)
class Worktree:
    """A folder of a repository as `swarm init` finds it.

    - `folder`: holds program.md
    - `files`: paths of the tracked files below it
    - `detached`: whether no branch is checked out
    """

    folder: Path
    files: frozenset[str]
    detached: bool


def look(folder: Path) -> Worktree:
    """Return the state of `folder`. Raises SetupError outside of a repository with files."""
    repository(folder)
    git = Git(folder)
    if git.rev_parse("--is-inside-work-tree") != "true":
        raise SetupError(f"{folder} is a repository without files: change into a checkout of it")
    listed = git.ls_files("-z", "--cached", "--", ".")
    files = frozenset(path for path in listed.split("\0") if path)
    return Worktree(folder, files, detached=_fails(git, "symbolic-ref", "--quiet", "HEAD"))


def _fails(git: Git, *call: str) -> bool:
    try:
        git.execute(["git", *call])
    except GitCommandError:
        return True
    return False


def program_text(folder: Path) -> str:
    """Return the text of the existing program.md, "" where there is none. Raises SetupError."""
    path = folder / PROGRAM
    if path.is_symlink():
        raise SetupError(f"{path} is a symbolic link, and a run reads the file: replace the link")
    try:
        return path.read_bytes().decode() if path.exists() else ""
    except UnicodeDecodeError:
        raise SetupError(f"{path} is not UTF-8 text: save it as UTF-8") from None
    except OSError as error:
        raise SetupError(f"{path}: {error.strerror}; move it away") from None


def require_committable(tree: Worktree) -> None:
    """Raise SetupError where a commit would go nowhere, or hold changes of the user's."""
    if tree.detached:
        raise SetupError("HEAD is detached: check out a branch, or leave out --commit")
    for name in (PROGRAM, IGNORE_FILE):
        if Git(tree.folder).status("--porcelain", "--", name):
            raise SetupError(
                f"{name} has changes of yours: commit them first, or leave out --commit"
            )


def write(tree: Worktree, program: str) -> list[str]:
    """Write program.md, and .swarm/ to .gitignore; return the names of the files written."""
    written = [PROGRAM]
    try:
        _replace(tree.folder / PROGRAM, program)
        if not _ignored(tree.folder):
            _ignore(tree.folder / IGNORE_FILE)
            written.append(IGNORE_FILE)
    except OSError as error:
        raise SetupError(f"{error.filename}: {error.strerror}; make it writable") from error
    return written


def _replace(path: Path, text: str) -> None:
    """Write a file in one step: a full disk leaves the old one."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_bytes(text.encode())
    if path.exists():
        draft.chmod(path.stat().st_mode & 0o7777)
    os.replace(draft, path)  # noqa: PTH105 - Path.replace says the same with less emphasis


def _ignored(folder: Path) -> bool:
    return not _fails(Git(folder), "check-ignore", "--quiet", f"{HOME}/run1")


def _ignore(path: Path) -> None:
    """Add .swarm/ as the last line, with the line endings of the file."""
    before = path.read_bytes() if path.exists() else b""
    end = b"\r\n" if b"\r\n" in before else b"\n"
    gap = b"" if not before or before.endswith(b"\n") else end
    path.write_bytes(before + gap + f"{HOME}/".encode() + end)


def commit(folder: Path, names: Sequence[str]) -> str:
    """Commit the files `names` of `folder`, and nothing else that is staged; return its id."""
    git = Git(folder)
    try:
        git.add("--", *names)
        git.execute(["git", "commit", "--quiet", "--only", "--message", MESSAGE, "--", *names])
    except GitCommandError as error:  # no author, a hook that refuses, a key that will not sign
        reason = " ".join(str(error.stderr).removeprefix("\n  stderr: ").split())
        raise SetupError(
            f"{' and '.join(names)} are written, but git refused the commit: {reason}"
        ) from error
    return str(git.rev_parse("HEAD"))
