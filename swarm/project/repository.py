"""What the target says: its program.md, the branch that is checked out, whether it is committed."""

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
    """Where a run begins: a commit, and the branch that its consensus comes home to."""

    commit: str
    branch: str


def tip(repo: Path) -> LaunchBase:
    """Return the commit that is checked out and its branch. Raises SetupError without either."""
    here = Repo(repo)
    try:
        return LaunchBase(here.head.commit.hexsha, here.active_branch.name)
    except ValueError:
        raise SetupError(f"{repo} has no commit yet: commit program.md and the genome") from None
    except TypeError:
        raise SetupError("HEAD is detached: check out the branch to improve") from None


def load_program(repo: Path, commit: str) -> Program:
    """Return the program.md that stands in `commit`. Raises SetupError."""
    git = Repo(repo).git
    try:
        text = git.cat_file("blob", f"{commit}:{PROGRAM}", stdout_as_string=False)
    except GitCommandError:
        raise SetupError(
            f"no {PROGRAM} in {commit[:8]}: write and commit one, or begin with `swarm init DIR`"
        ) from None
    files = git.ls_tree("-r", "-z", "--name-only", commit).split("\0")
    return read_program(text, PROGRAM, [file for file in files if file])


def clean(repo: Path, program: Program) -> None:
    """Refuse to launch on files that say something else than the commit that will be run."""
    dirty = Repo(repo).git.status("--porcelain", "--", PROGRAM, *program.genome)
    if dirty:
        files = ", ".join(line[3:] for line in dirty.splitlines())
        raise SetupError(f"uncommitted changes in {files}: commit or stash them, then launch")


def frozen() -> None:
    """Refuse a harness that differs from its commit: nobody could find that measure again.

    Where swarm is installed from a wheel, the files are all there is and name themselves.
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
