"""`swarm init`: creates a git repository for a task, ready to launch."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click
from git import Git, GitCommandError, Repo
from git.exc import GitCommandNotFound

from harness import tasks
from harness.contract import SetupError

FALLBACK_AUTHOR = ("swarm", "swarm@localhost")
"""Name and e-mail address of the first commit's author where git has none configured."""

_README = """\
# {name}

A repository for swarm's task `{task}`. Agents change the files in `genome/` and nothing else.

    swarm launch --minutes 10    # improve the genome; Ctrl-C stops, launch again to resume
    swarm status                 # each island's head, score and gain
    swarm lineage                # what was tried and what was kept
    swarm promote                # measure the kept changes together, on fresh seeds
    swarm merge                  # merge the result into your branch

`program.md` says what to improve and on which slices. Edit it, commit it, launch.
"""


def _template(task: str) -> Traversable:
    return files("swarm") / "templates" / f"{task}.md"


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--task",
    type=click.Choice([name for name in tasks.NAMES if _template(name).is_file()]),
    required=True,
    help="What to improve.",
)
def init(folder: Path, task: str) -> None:
    """Create a git repository in DIR with program.md and the seed genome of a task."""
    _check_folder(folder)
    _write(folder, task)
    commit = _commit(folder, task)
    click.echo(f"{folder}: task {task}, committed as {commit[:8]} on main")
    click.echo(f"next: cd {folder} && swarm launch --minutes 10")


def _check_folder(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SetupError(f"{folder} is not empty: name a new folder")
    existing = next(parent for parent in folder.absolute().parents if parent.exists())
    try:
        top = Git(existing).rev_parse("--show-toplevel")
    except GitCommandNotFound:
        raise SetupError("git is not installed, or not on the PATH: install it") from None
    except GitCommandError:
        return
    raise SetupError(f"{folder} is inside the repository {top}: name a folder outside it")


def _write(folder: Path, task: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _copy(files("islands") / "seeds" / task, folder / "genome")
        program = _template(task).read_text()
        (folder / "program.md").write_text(program)
        (folder / ".gitignore").write_text(".swarm/\n__pycache__/\n")
        (folder / "README.md").write_text(_README.format(name=folder.absolute().name, task=task))
    except OSError as error:
        raise SetupError(
            f"{error.filename or folder}: {error.strerror}; name another folder"
        ) from error


def _copy(source: Traversable, target: Path) -> None:
    """Copy a genome's files byte by byte: package data is read, never imported."""
    target.mkdir()
    for entry in source.iterdir():
        if entry.name == "__pycache__":
            continue
        if entry.is_dir():
            _copy(entry, target / entry.name)
        else:
            (target / entry.name).write_bytes(entry.read_bytes())


def _commit(folder: Path, task: str) -> str:
    repo = Repo.init(folder, initial_branch="main")
    repo.git.add("--all")
    name, email = FALLBACK_AUTHOR
    author = [] if _has_author(repo) else ["-c", f"user.name={name}", "-c", f"user.email={email}"]
    call = ["git", *author, "commit", "--quiet", "--message", f"Begin with swarm's task {task}"]
    try:
        repo.git.execute(call)
    except GitCommandError as error:  # a hook of the user's template, a key that will not sign
        reason = " ".join(str(error.stderr).split())
        raise SetupError(f"{folder} is written, but git refused the commit: {reason}") from error
    return str(repo.head.commit.hexsha)


def _has_author(repo: Repo) -> bool:
    """Return whether git has an author configured, in its settings or the environment."""
    try:
        repo.git.execute(["git", "-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT"])
    except GitCommandError:
        return False
    return True
