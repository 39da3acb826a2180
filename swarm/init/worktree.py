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

    - `root`: the repository's
    - `folder`: holds program.md
    - `files`: paths of the tracked files below it
    - `detached`: whether no branch is checked out
    """

    root: Path
    folder: Path
    files: frozenset[str]
    detached: bool

    @property
    def written(self) -> tuple[Path, Path]:
        """The files that may be written: program.md, and the .gitignore beside .swarm."""
        return self.folder / PROGRAM, self.root / IGNORE_FILE


def look(folder: Path) -> Worktree:
    """Return the state of `folder`. Raises SetupError outside of a repository with files."""
    root, git = repository(folder), Git(folder)
    if git.rev_parse("--is-inside-work-tree") != "true":
        raise SetupError(f"{folder} is a repository without files: change into a checkout of it")
    listed = git.ls_files("-z", "--cached", "--", ".")
    files = frozenset(path for path in listed.split("\0") if path)
    return Worktree(
        root, folder.resolve(), files, detached=_fails(git, "symbolic-ref", "--quiet", "HEAD")
    )


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
    for path in tree.written:
        if Git(tree.root).status("--porcelain", "--", str(path)):
            raise SetupError(
                f"{path.name} has changes of yours: commit them first, or leave out --commit"
            )


def write(tree: Worktree, program: str) -> list[Path]:
    """Write program.md, and .swarm/ to .gitignore; return the files written."""
    file, ignored = tree.written
    try:
        _replace(file, program)
        if _ignored(tree.root):
            return [file]
        _ignore(ignored)
    except OSError as error:
        raise SetupError(f"{error.filename}: {error.strerror}; make it writable") from error
    return [file, ignored]


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


def commit(tree: Worktree, files: Sequence[Path]) -> str:
    """Commit `files`, and nothing else that is staged; return the commit's id."""
    git, names = Git(tree.root), list(map(str, files))
    try:
        git.add("--", *names)
        git.execute(["git", "commit", "--quiet", "--only", "--message", MESSAGE, "--", *names])
    except GitCommandError as error:  # no author, a hook that refuses, a key that will not sign
        reason = " ".join(str(error.stderr).removeprefix("\n  stderr: ").split())
        written = " and ".join(path.name for path in files)
        raise SetupError(f"{written} written, but git refused the commit: {reason}") from error
    return str(git.rev_parse("HEAD"))
