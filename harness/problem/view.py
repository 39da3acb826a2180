"""A trial's view of the repository: the frozen files with a candidate's genome in its places.

With namespaces the genome's paths are mounted over the frozen files. Without mounts the view is a
folder of hard links to the frozen files and copies of the genome's, which Landlock makes read-only.

Not covered: with namespaces a file of the genome that a candidate deletes is empty. Without a
sandbox the view is a copy that commands can write to.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.contract import Trial
from harness.problem.spec import REPO, TREE, ProblemSpec

SYSTEM_PATH = ("/usr/local/bin", "/usr/bin", "/bin")


@dataclass(frozen=True, slots=True)
class RepositoryView:
    """The host paths that make up the repository in a sandbox, by their paths inside.

    frozen: the same in every trial of a problem
    genome: what the candidate supplies
    """

    frozen: Mapping[str, Path]
    genome: Mapping[str, Path]


def view_of(spec: ProblemSpec, problem: str, trial: Trial) -> RepositoryView:
    """Return the view of `trial`'s candidate; made below the trial's scratch without mounts."""
    tree, genome = Path(problem) / TREE, Path(trial.genome)
    python = {path: Path(path) for path in spec.python.prefixes}
    if trial.sandbox == "namespaces":
        places = {path: genome / path for path in spec.genome}
        given = {f"{REPO}/{path}": file for path, file in places.items() if file.exists()}
        return RepositoryView({**python, REPO: tree}, given)
    view = Path(trial.scratch) / trial.id / "view"
    make_view(tree, genome, spec.genome, view, link=trial.sandbox == "landlock")
    return RepositoryView({**python, REPO: view}, {})


def make_view(tree: Path, genome: Path, paths: tuple[str, ...], view: Path, *, link: bool) -> None:
    """Make the folder `view`: the files of `tree`, with those of `genome` at `paths`.

    With `link` the files of `tree` are hard links.
    """
    copy = _link_or_copy if link else shutil.copy2
    shutil.copytree(tree, view, symlinks=True, copy_function=copy)
    for path in paths:
        place, given = view / path, genome / path
        if given.is_dir():
            shutil.copytree(given, place, dirs_exist_ok=True)
        else:
            place.unlink(missing_ok=True)
            if given.exists():
                shutil.copy2(given, place)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or too many links
        shutil.copy2(source, target)


def command_words(spec: ProblemSpec, command: str, trial: Trial) -> tuple[str, ...]:
    """Return the arguments of runners/command.py that run the command line `command`."""
    filled = command.replace("{seed}", str(trial.seed)).replace("{depth}", str(trial.rung.depth))
    pairs = [*_variables(spec, trial)]
    return (spec.cwd, filled, *(word for pair in pairs for word in pair))


def _variables(spec: ProblemSpec, trial: Trial) -> Iterator[tuple[str, str]]:
    """Yield the variables of a command; a repeated one is a path list."""
    yield "SWARM_SEED", str(trial.seed)
    yield "SWARM_DEPTH", str(trial.rung.depth)
    yield "SWARM_SECONDS", f"{trial.rung.seconds:g}"
    yield "SWARM_PART", trial.split
    yield "OUT", "/out"
    bins = [str(Path(spec.python.program).parent)] if spec.python.program else []
    for folder in (*bins, *SYSTEM_PATH):
        yield "PATH", folder
    for folder in spec.python.paths:
        yield "PYTHONPATH", f"{REPO}/{folder}".rstrip("/")
