"""The files that a judge sees and a candidate does not: evaluate.py, held data, the base.

All of it lies in the problem's folder, beside what candidates see:

    judge/         the frozen files and evaluate.py, none of the genome's
    held/SPLIT/    the held file or folder of a split
    base/          the genome of the launch commit
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.contract import Split
from harness.problem.spec import REPO, ProblemSpec

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


def judge_places(spec: ProblemSpec, problem: str, split: Split) -> JudgePlaces:
    """Return the files that judge a trial on `split`: those held for it and for no other."""
    read = {path: Path(path) for path in spec.python.prefixes}
    read[REPO] = Path(problem) / JUDGE
    held = spec.held.get(split)
    if held is None:
        return JudgePlaces(read, "")
    read[HELD_INSIDE] = Path(problem) / HELD / split
    return JudgePlaces(read, f"{HELD_INSIDE}/{PurePosixPath(held).name}")


def base_folder(problem: str) -> Path:
    """Return the folder with the base's genome."""
    return Path(problem) / BASE
