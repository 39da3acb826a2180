"""A trial's view of the repository: the frozen files with a candidate's genome in its places.

With namespaces the genome's paths are mounted over the frozen files. Without mounts the view is a
folder of hard links to the frozen files and copies of the genome's, which Landlock makes read-only.
After a build it is the folder that the build left.

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
from harness.problem.project_runners import without_runner
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


def view_of(
    spec: ProblemSpec, problem: str, trial: Trial, built: Path | None = None
) -> RepositoryView:
    """Return the view of `trial`'s candidate, after its build if it has one.

    Without mounts it is made below the trial's scratch.
    """
    given = read_only_places(spec)
    if built is not None and trial.sandbox != "none":
        return RepositoryView({**given, REPO: built}, {})
    if trial.sandbox == "namespaces":
        places = {path: Path(trial.genome) / path for path in spec.genome}
        genome = {f"{REPO}/{path}": file for path, file in places.items() if file.exists()}
        return RepositoryView({**given, REPO: Path(problem) / TREE}, genome)
    view = Path(trial.scratch) / trial.id / "view"
    if built is not None:  # a copy, since nothing protects the original
        shutil.copytree(built, view, symlinks=True)
    else:
        link = trial.sandbox == "landlock"
        make_view(Path(problem), Path(trial.genome), spec, view, link=link)
        link_mounts(spec, view)
    return RepositoryView({**given, REPO: view}, {})


def read_only_places(spec: ProblemSpec) -> dict[str, Path]:
    """Return the host path of everything beside the repository, by its path in a trial."""
    python = {path: Path(path) for path in spec.python.prefixes}
    return python | {inside: Path(host) for inside, host in spec.mounts.items()}


def make_view(problem: Path, genome: Path, spec: ProblemSpec, view: Path, *, link: bool) -> None:
    """Make the folder `view`: the frozen files of `problem`, with those of `genome` in place.

    With `link` the frozen files are hard links.
    """
    copy = link_or_copy if link else shutil.copy2
    shutil.copytree(problem / TREE, view, symlinks=True, copy_function=copy)
    for path in spec.genome:
        place, given = view / path, genome / path
        if given.is_dir():
            shutil.copytree(given, place, dirs_exist_ok=True)
        else:
            place.unlink(missing_ok=True)
            if given.exists():
                shutil.copy2(given, place)


def link_mounts(spec: ProblemSpec, view: Path) -> None:
    """Replace the empty places of mounts in `view` by symbolic links to what is mounted there."""
    for inside, host in spec.mounts.items():
        if inside.startswith(f"{REPO}/"):
            place = view / inside.removeprefix(f"{REPO}/")
            if place.is_dir() and not place.is_symlink():
                place.rmdir()
            place.unlink(missing_ok=True)
            place.symlink_to(host)


def link_or_copy(source: str, target: str) -> None:
    """Link a file, or copy it where that is not possible."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or too many links
        shutil.copy2(source, target)


def command_words(spec: ProblemSpec, command: str, trial: Trial) -> tuple[str, ...]:
    """Return the arguments of runners/command.py for the command line `command`."""
    direct = without_runner(command)
    filled = direct.replace("{seed}", str(trial.seed)).replace("{depth}", str(trial.rung.depth))
    pairs = [*_variables(spec, trial)]
    return (spec.cwd, filled, *(word for pair in pairs for word in pair))


def _variables(spec: ProblemSpec, trial: Trial) -> Iterator[tuple[str, str]]:
    """Yield the variables of a command, and links in HOME; a repeated name is a path list."""
    yield "SWARM_SEED", str(trial.seed)
    yield "SWARM_DEPTH", str(trial.rung.depth)
    yield "SWARM_SECONDS", f"{trial.rung.seconds:g}"
    yield "SWARM_PART", trial.split
    yield "OUT", "/out"
    bins = [str(Path(spec.python.program).parent)] if spec.python.program else []
    for folder in (*bins, *spec.programs, *SYSTEM_PATH):
        yield "PATH", folder
    for folder in spec.python.paths:
        yield "PYTHONPATH", f"{REPO}/{folder}".rstrip("/")
    for path, place in spec.home.items():
        yield f"~/{path}", place
