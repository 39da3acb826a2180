"""The files that a judge sees and a candidate does not: evaluate.py, held data, the base.

All of it lies in the problem's folder, beside what candidates see:

    judge/         the frozen files and evaluate.py, none of the genome's
    held/SPLIT/    the held file or folder of a split; held/fresh/ has the fresh cases
    base/          the genome of the launch commit
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.contract import Trial
from harness.problem.spec import REPO, ProblemSpec
from harness.problem.view import link_mounts, link_or_copy, read_only_places

JUDGE, HELD, BASE = "judge", "held", "base"

HELD_INSIDE = "/held"
"""Where the held file or folder of a trial's split lies in the judge's sandbox, by its own name."""


@dataclass(frozen=True, slots=True)
class JudgePlaces:
    """The files of a judge's sandbox.

    read: host paths by the paths inside
    held: the path inside of the split's held file or folder, "" where it has none
    """

    read: Mapping[str, Path]
    held: str


def judge_places(
    spec: ProblemSpec, problem: str, trial: Trial, part: Path | None = None
) -> JudgePlaces:
    """Return the files that judge `trial`: those held for its split and for no other.

    `part` is a folder to bind in place of what is held, whose entry has the same name.
    """
    read = {**read_only_places(spec), REPO: Path(problem) / JUDGE}
    if trial.sandbox != "namespaces" and any(path.startswith(REPO) for path in spec.mounts):
        read[REPO] = Path(trial.scratch) / trial.id / JUDGE
        shutil.rmtree(read[REPO], ignore_errors=True)  # of another part
        copy = link_or_copy if trial.sandbox == "landlock" else shutil.copy2
        shutil.copytree(Path(problem) / JUDGE, read[REPO], symlinks=True, copy_function=copy)
        link_mounts(spec, read[REPO])
    held = spec.held.get(trial.split)
    if held is None:
        return JudgePlaces(read, "")
    read[HELD_INSIDE] = part or Path(problem) / HELD / trial.split
    return JudgePlaces(read, f"{HELD_INSIDE}/{PurePosixPath(held).name}")


def base_folder(problem: str) -> Path:
    """Return the folder with the base's genome."""
    return Path(problem) / BASE
