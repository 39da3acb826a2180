"""Removal of a run: its folder, its branches and its other refs.

The refs go in one transaction, the folder afterwards: a removal that is killed leaves a run that
can be removed again. Commits that nothing else holds, packed ones too, are dropped by git's next
garbage collection.

Not covered: what was merged stays merged; `git reflog` of a removed branch is gone with it.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

from harness.contract import SetupError
from islands.git.packs import CandidatePacks
from islands.git.plumbing import Plumbing
from swarm.project.runs import RunFolder, release_name, require_stopped


@dataclass(frozen=True, slots=True)
class RemovalPlan:
    """What the removal of a run takes away.

    run: its folder
    branches: names of its branches
    refs: how many other refs it has, packed ones too
    bytes: size of its folder
    """

    run: RunFolder
    branches: tuple[str, ...]
    refs: int
    bytes: int


def plan_removal(run: RunFolder) -> RemovalPlan:
    """Return what removing `run` would take away.

    Raises SetupError while a coordinator works on it, and where one of its branches is checked out.
    """
    require_stopped(run)
    git = Plumbing(run.repo)
    form = "--format=%(refname)%00%(worktreepath)"
    listed = os.fsdecode(git.run("for-each-ref", form, f"refs/heads/swarm/{run.name}/"))
    branches = [line.split("\0") for line in listed.splitlines()]
    for ref, worktree in branches:
        if worktree:
            raise SetupError(
                f"branch {_short(ref)} is checked out in {worktree}: switch to another there first"
            )
    others = git.run("for-each-ref", "--format=%(refname)", f"refs/swarm/{run.name}/")
    files = (path for path in run.path.rglob("*") if path.is_file() and not path.is_symlink())
    size = sum(path.stat().st_size for path in files)
    names = tuple(_short(ref) for ref, _ in branches)
    refs = {*os.fsdecode(others).splitlines()} | CandidatePacks(git, run.name).refs().keys()
    return RemovalPlan(run, names, len(refs), size)


def remove(run: RunFolder, *, keep_branches: bool) -> None:
    """Remove `run`. Raises SetupError where its folder cannot be removed."""
    git = Plumbing(run.repo)
    places = [f"refs/swarm/{run.name}/"]
    if not keep_branches:
        places.append(f"refs/heads/swarm/{run.name}/")
    refs = git.run("for-each-ref", "--format=delete %(refname)", *places)
    if refs:
        git.run("update-ref", "--no-deref", "-m", "swarm: remove", "--stdin", stdin=refs)
    CandidatePacks(git, run.name).release()
    release_name(run)
    try:
        shutil.rmtree(run.path)
    except FileNotFoundError:
        return  # its refs were all that was left of it
    except OSError as error:
        raise SetupError(f"{error.filename}: {error.strerror}; make it writable") from None


def _short(ref: str) -> str:
    return ref.removeprefix("refs/heads/")
