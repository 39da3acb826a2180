"""Fresh data of a user's own: cases that no sandbox has held, each scored once in a run.

`held: {dev: FOLDER, fresh: FOLDER}` names two folders whose entries, files or folders, are cases of
one kind. A trial on piece N is scored as always, and then, in parts, on the cases of that piece and
on those of dev: the judge is given a folder of the dev folder's name that holds the part's cases
alone. Whether a gain on dev is there on fresh cases is decided in `islands.ratchet.fresh`.

Not covered: what `harness.tasks.gpt.fresh` names; a genome that is called is sent a fresh case's
inputs while it is scored, as it has to be.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from harness.contract import Trial
from harness.problem.judge import HELD
from harness.problem.spec import ProblemSpec
from harness.problem.view import link_or_copy

FRESH = "fresh"

PARTS = 8
"""Cases of a piece, each scored by itself, and parts in which dev is scored beside them."""


def pieces(spec: ProblemSpec, problem: str) -> int:
    """Return how many pieces of fresh cases the problem in the folder `problem` has."""
    return len(_cases(spec, problem, FRESH)) // PARTS if spec.fresh else 0


def parts_of(spec: ProblemSpec, problem: str, trial: Trial) -> Iterator[tuple[str, Path]]:
    """Yield the parts of dev and of the trial's piece: which, and a folder to bind for the judge.

    Each is deleted once the next is asked for.
    """
    count = pieces(spec, problem)
    if not 1 <= trial.fresh <= count:
        raise ValueError(f"there are {count} pieces of fresh cases, not {trial.fresh}")
    dev = _cases(spec, problem, "dev")
    fresh = _cases(spec, problem, FRESH)[trial.fresh - 1 : count * PARTS : count]
    groups = [("dev", dev[n::PARTS]) for n in range(min(PARTS, len(dev)))]
    groups += [(FRESH, [case]) for case in fresh]
    place = Path(trial.scratch) / trial.id / "part"
    for name, cases in groups:
        shutil.rmtree(place, ignore_errors=True)
        folder = place / PurePosixPath(spec.held["dev"]).name
        folder.mkdir(parents=True)
        for case in cases:
            _add(case, folder / case.name)
        for made in (place, folder):
            made.chmod(0o755)
        yield name, place


def _cases(spec: ProblemSpec, problem: str, split: str) -> list[Path]:
    path = spec.fresh if split == FRESH else spec.held["dev"]
    return sorted((Path(problem) / HELD / split / PurePosixPath(path).name).iterdir())


def _add(case: Path, to: Path) -> None:
    if case.is_dir():
        shutil.copytree(case, to, copy_function=link_or_copy)
    else:
        link_or_copy(str(case), str(to))
