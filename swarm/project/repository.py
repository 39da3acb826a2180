"""Reads the target repository: its program.md, its checked-out branch, uncommitted changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from git import Git, GitCommandError, Repo

from harness import fingerprint as identity
from harness.contract import SetupError
from swarm.project.program import Program, read_program

PROGRAM = "program.md"


@dataclass(frozen=True, slots=True)
class LaunchBase:
    """Where a run starts: a commit, and the branch that its consensus is merged into."""

    commit: str
    branch: str


def tip(repo: Path) -> LaunchBase:
    """Return the checked-out commit and branch. Raises SetupError if there is none."""
    opened = Repo(repo)
    try:
        return LaunchBase(opened.head.commit.hexsha, opened.active_branch.name)
    except ValueError:
        raise SetupError(f"{repo} has no commit yet: commit program.md and the genome") from None
    except TypeError:
        raise SetupError("HEAD is detached: check out the branch to improve") from None


def load_program(repo: Path, commit: str) -> Program:
    """Return the program.md of `commit`. Raises SetupError where it is missing or invalid."""
    git = Repo(repo).git
    try:
        text = git.cat_file("blob", f"{commit}:{PROGRAM}", stdout_as_string=False)
    except GitCommandError:
        raise SetupError(
            f"no {PROGRAM} in {commit[:8]}: write and commit one, or create a repository"
            " with `swarm init DIR`"
        ) from None
    files = git.ls_tree("-r", "-z", "--name-only", commit).split("\0")
    return read_program(text, PROGRAM, [file for file in files if file])


def require_clean(repo: Path, program: Program) -> None:
    """Raise SetupError if program.md or the genome differ from the commit that will be run."""
    dirty = Repo(repo).git.status("--porcelain", "--", PROGRAM, *program.settings.genome)
    if dirty:
        files = ", ".join(line[3:] for line in dirty.splitlines())
        raise SetupError(f"uncommitted changes in {files}: commit or stash them, then launch")


def require_frozen_harness() -> None:
    """Raise SetupError if the harness differs from its commit: its scores could not be repeated.

    A harness that is installed from a wheel has no commit; its files are its version.
    """
    try:
        tree = Git(identity.HARNESS_DIR).rev_parse("--verify", "--quiet", "HEAD:./")
    except GitCommandError:
        return
    if tree != identity.tree_id():
        raise SetupError(
            f"{identity.HARNESS_DIR} has uncommitted changes: commit or restore them, since every"
            " score names the harness that made it"
        )
