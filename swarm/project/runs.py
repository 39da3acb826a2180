"""Where runs live: each in a folder `.swarm/<name>/` of the repository that it improves.

`.swarm/` holds a .gitignore of its own, so that nothing of it is ever committed, whatever the
repository ignores. The folder of a linked worktree is its own.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from analysis import ledger
from harness.contract import SetupError

# else GitPython raises ImportError where there is no git, and nobody says what to install
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

from git import Git, GitCommandError, GitCommandNotFound

HOME = ".swarm"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_NUMBERED = re.compile(r"run([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run's place: the repository's root, the run's name, and the folder of all its state."""

    repo: Path
    name: str
    folder: Path


def locate(run: str | None, start: Path | None = None) -> RunFolder:
    """Return the run of that name, by default the one that was active last.

    `start` is a folder in the repository (default: the working directory). Raises SetupError
    outside of a repository, at a name that no run can have, and where there is no such run.
    """
    repo = repository(start)
    if not run:
        last = latest(repo)
        if last is None:
            raise SetupError(f"{repo} has no run yet: `swarm launch` begins one")
        return last
    found = _at(repo, run)
    if not (found.folder / ledger.NAME).exists():
        known = ", ".join(each.name for each in runs(repo)) or "none yet, `swarm launch` begins one"
        raise SetupError(f"--run {run}: no such run; there are: {known}")
    return found


def create(repo: Path, name: str) -> RunFolder:
    """Return the run `name` of the repository `repo`, its folder made if there is none.

    Raises SetupError at a name that no run can have, or where the folder cannot be made.
    """
    found = _at(repo, name)
    try:
        found.folder.mkdir(parents=True, exist_ok=True)
        ignored = repo / HOME / ".gitignore"
        if not ignored.exists():
            ignored.write_text("*\n")
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise SetupError(f"{error.filename}: {error.strerror}; make room for it") from error
    return found


def runs(repo: Path) -> list[RunFolder]:
    """Return the repository's runs, the one that was active last first."""
    kept = [(path.stat().st_mtime, path) for path in (repo / HOME).glob(f"*/{ledger.NAME}")]
    return [RunFolder(repo, path.parent.name, path.parent) for _, path in sorted(kept)[::-1]]


def latest(repo: Path) -> RunFolder | None:
    """Return the run that was active last, None where there is no run yet."""
    return next(iter(runs(repo)), None)


def next_name(repo: Path) -> str:
    """Return the first of run1, run2, ... above all that have a folder or, still, branches."""
    taken = [path.name for path in (repo / HOME).glob("run*")]
    refs = Git(repo).for_each_ref("--format=%(refname)", "refs/heads/swarm/", "refs/swarm/")
    taken += refs.replace("\n", "/").split("/")
    numbers = [int(match[1]) for name in taken if (match := _NUMBERED.fullmatch(name))]
    return f"run{max(numbers, default=0) + 1}"


def repository(start: Path | None = None) -> Path:
    """Return the root of the git repository around `start` (default: the working directory).

    Raises SetupError where there is none, or no git.
    """
    start = start or Path.cwd()
    try:
        return Path(Git(start).rev_parse("--show-toplevel"))
    except GitCommandNotFound:
        raise SetupError("git is not installed, or not on the PATH: install it") from None
    except GitCommandError as error:
        raise SetupError(
            f"{start} is in no git repository ({_said(error)}): change into one, or make one"
            " with `swarm init DIR`"
        ) from None


def _at(repo: Path, name: str) -> RunFolder:
    wrong = name.endswith((".", ".lock")) or ".." in name
    if wrong or not _NAME.fullmatch(name):
        raise SetupError(
            f"--run {name!r}: a run's name is part of its branches' names: up to 64 letters,"
            " digits, - _ and ., not beginning with - or ., nor ending in . or .lock"
        )
    return RunFolder(repo, name, repo / HOME / name)


def _said(error: GitCommandError) -> str:
    """Return git's own words: an owner it distrusts and a missing repository read differently."""
    words = str(error.stderr).strip().removeprefix("stderr:").strip().strip("'")
    return words.splitlines()[0].removeprefix("fatal: ") if words else "git says nothing"
