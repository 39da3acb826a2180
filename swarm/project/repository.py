"""Reads the target repository: its program.md, its checked-out branch, uncommitted changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from git import Git, GitCommandError

from harness import fingerprint as identity
from harness.contract import SetupError
from swarm.project.program import NAME, Program, in_folder, read_program

PROGRAM = NAME


@dataclass(frozen=True, slots=True)
class LaunchBase:
    """Where a run starts: a commit, and the branch that its consensus is merged into."""

    commit: str
    branch: str
    program: str = PROGRAM
    """Path of the program.md in the repository."""


NO_COMMIT = "{} has no commit yet: commit program.md and the genome"
"""What is said of an empty repository."""


def tip(repo: Path) -> LaunchBase:
    """Return the checked-out commit, its branch and the program.md that is meant here.

    Raises SetupError if there is no commit or no branch.
    """
    git = Git(repo)
    try:
        commit = str(git.rev_parse("--verify", "--quiet", "HEAD^{commit}"))
    except GitCommandError:
        raise SetupError(NO_COMMIT.format(repo)) from None
    try:
        branch = str(git.symbolic_ref("--quiet", "--short", "HEAD"))
    except GitCommandError:
        raise SetupError("HEAD is detached: check out the branch to improve") from None
    return LaunchBase(commit, branch, program_path(repo))


def program_path(repo: Path, start: Path | None = None) -> str:
    """Return the path, in `repo`, of the program.md nearest to `start` and not below it.

    `start` is a folder of the repository (default: the working directory). Where there is none, or
    `start` lies elsewhere, it is the one at the root.
    """
    here, top = (start or Path.cwd()).resolve(), repo.resolve()
    for folder in (here, *here.parents):
        if folder.is_relative_to(top) and (folder / PROGRAM).is_file():
            return str((folder / PROGRAM).relative_to(top))
    return PROGRAM


def load_program(repo: Path, commit: str, path: str = PROGRAM) -> Program:
    """Return the program.md at `path` in `commit`. Raises SetupError if there is no valid one."""
    git = Git(repo)
    try:
        text = git.cat_file("blob", f"{commit}:{path}", stdout_as_string=False)
    except GitCommandError:
        others = _programs(git, commit)
        if (repo / path).is_file():
            fix = f"it is in {(repo / path).parent}, uncommitted: git add -f {path} && git commit"
        elif others:
            fix = f"change into the folder of {' or '.join(others)}"
        else:
            fix = (
                "write one with `swarm init` and commit it, or make a repository (`swarm init DIR`)"
            )
        raise SetupError(f"{path} is not in commit {commit[:8]}: {fix}") from None
    files = git.ls_tree("-r", "-z", "--name-only", commit).split("\0")
    folder = path.removesuffix(PROGRAM)
    inside = [file.removeprefix(folder) for file in files if file and file.startswith(folder)]
    return in_folder(read_program(text, path, inside), path)


def _programs(git: Git, commit: str) -> list[str]:
    """Return the paths of the first few files of a commit that are called program.md."""
    files = git.ls_tree("-r", "-z", "--name-only", commit).split("\0")
    return [file for file in files if file.rpartition("/")[2] == PROGRAM][:3]


def load_revised(repo: Path, path: str) -> tuple[str, Program] | None:
    """Return the checked-out commit and the program.md at `path` in it, None if it has none.

    The genome is not looked for: a run's is that of its base. Raises SetupError if it is not valid.
    """
    commit = str(Git(repo).rev_parse("HEAD"))
    program = load_prose(repo, commit, path)
    return None if program is None else (commit, program)


def load_prose(repo: Path, commit: str, path: str) -> Program | None:
    """Return the program.md at `path` in `commit`, whatever else is there, None if it has none."""
    try:
        text = Git(repo).cat_file("blob", f"{commit}:{path}", stdout_as_string=False)
    except GitCommandError:
        return None
    return in_folder(read_program(text, path), path)


def is_dirty(repo: Path, path: str) -> bool:
    """Return whether the file at `path` differs from the checked-out commit's."""
    return bool(Git(repo).status("--porcelain", "--", path))


def require_clean(repo: Path, program: Program) -> None:
    """Raise SetupError if program.md or the genome differ from the commit that will be run."""
    dirty = Git(repo).status("--porcelain", "--", program.path, *program.settings.genome)
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
