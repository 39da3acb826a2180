"""New repositories from the templates in swarm/templates/: complete examples, ready to launch."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from git import Git, GitCommandError

from harness.contract import SetupError
from islands.git.plumbing import require_git

TEMPLATES: Mapping[str, str] = {
    "gpt": "train a small GPT in a fixed time",
    "packing": "pack circles into a square",
    "command": "find shorter round trips; a command prints the score",
    "function": "forecast monthly sales; evaluate.py computes the score",
    "prompt": "write a prompt that sorts messages; needs a model server or a key",
    "speed": "make a Python function faster; evaluate.py times it beside the base",
}
"""Each template with what it improves."""

FALLBACK_AUTHOR = ("swarm", "swarm@localhost")
"""Name and e-mail address of the first commit's author where git has none configured."""

_README = """\
# {name}

An example for swarm: {summary}.
Agents change the genome that `program.md` names and nothing else.

    swarm launch --minutes 10    # improve the genome; Ctrl-C stops, launch again to resume
    swarm status                 # each island's head, score and gain
    swarm lineage                # what was tried and what was kept
    swarm promote                # measure the kept changes together, on fresh seeds
    swarm merge                  # merge the result into your branch

`program.md` says what to improve and on which slices. Edit it, commit it, launch.
"""


def create(folder: Path, name: str) -> str:
    """Make a repository in the new `folder` from the template `name`; return its commit."""
    _require_new(folder)
    _write(folder, name)
    return _commit(folder, name)


def _require_new(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SetupError(f"{folder} is not empty: name a new folder")
    existing = next(parent for parent in folder.absolute().parents if parent.exists())
    require_git()
    try:
        top = Git(existing).rev_parse("--show-toplevel")
    except GitCommandError:
        return
    raise SetupError(f"{folder} is inside the repository {top}: name a folder outside it")


def _write(folder: Path, name: str) -> None:
    seed = files("islands") / "seeds" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _copy(files("swarm") / "templates" / name, folder)
        if seed.is_dir():
            _copy(seed, folder / "genome")
        (folder / ".gitignore").write_text(".swarm/\n__pycache__/\n")
        readme = _README.format(name=folder.absolute().name, summary=TEMPLATES[name])
        (folder / "README.md").write_text(readme)
    except OSError as error:
        raise SetupError(
            f"{error.filename or folder}: {error.strerror}; name another folder"
        ) from error


def _copy(source: Traversable, target: Path) -> None:
    """Copy a folder's files byte by byte: package data is read, never imported."""
    target.mkdir(exist_ok=True)
    for entry in source.iterdir():
        if entry.name == "__pycache__":
            continue
        if entry.is_dir():
            _copy(entry, target / entry.name)
        else:
            (target / entry.name).write_bytes(entry.read_bytes())


def _commit(folder: Path, name: str) -> str:
    git = Git(folder)
    git.init("--quiet", "--initial-branch=main")
    git.add("--all")
    author = ["-c", f"user.name={FALLBACK_AUTHOR[0]}", "-c", f"user.email={FALLBACK_AUTHOR[1]}"]
    given = [] if _has_author(git) else author
    call = ["git", *given, "commit", "--quiet", "--message", f"Begin with swarm's task {name}"]
    try:
        git.execute(call)
    except GitCommandError as error:  # a hook of the user's template, a key that will not sign
        reason = " ".join(str(error.stderr).split())
        raise SetupError(f"{folder} is written, but git refused the commit: {reason}") from error
    return str(git.rev_parse("HEAD"))


def _has_author(git: Git) -> bool:
    """Return whether git has an author configured, in its settings or the environment."""
    try:
        git.execute(["git", "-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT"])
    except GitCommandError:
        return False
    return True
