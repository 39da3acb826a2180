"""The record of a frozen problem, and the folder that it travels in.

The folder holds `problem.json` and `tree/`: every frozen file, as a trial sees it, with an empty
place for each path of the genome. It is written once, at launch, and moves as a whole.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness.contract import Direction, SetupError

SPEC, TREE = "problem.json", "tree"

REPO = "/repo"
"""Where a trial sees the repository."""


@dataclass(frozen=True, slots=True)
class PythonSpec:
    """The interpreter that `python` is in a trial.

    program: its path on this machine
    prefixes: folders that it needs, at their own paths
    version: as `python --version` says it, and the digest of what is installed for it
    paths: folders below the repository that it imports from (editable installs)
    """

    program: str
    prefixes: tuple[str, ...]
    version: str
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProblemSpec:
    """A user's problem, frozen at launch.

    task: kind of task
    metric: name of the score; one of the harness's own measures, or what `run` prints
    direction: whether lower or higher is better
    genome: paths that candidates supply, from the root of the repository
    files: digest of the frozen files
    run: command line that makes the score
    pattern: regular expression whose group is the score, "" for the usual forms
    folder: folder of program.md, where commands run, "" at the root of the repository
    python: what `python` is
    """

    task: str
    metric: str
    direction: Direction
    genome: tuple[str, ...]
    files: str
    run: str
    pattern: str = ""
    folder: str = ""
    python: PythonSpec = field(default_factory=lambda: PythonSpec("", (), ""))

    @property
    def digest(self) -> str:
        """The sha256 of all that a score depends on, paths of this machine left out."""
        facts = dataclasses.asdict(self)
        facts["python"] = self.python.version
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @property
    def cwd(self) -> str:
        """The folder in which commands run, as a trial sees it."""
        return f"{REPO}/{self.folder}" if self.folder else REPO


_SPEC = TypeAdapter(ProblemSpec)


def write_spec(spec: ProblemSpec, folder: Path) -> None:
    """Write `problem.json` into `folder`, readable by every user."""
    path = folder / SPEC
    path.write_text(json.dumps(dataclasses.asdict(spec), indent=1) + "\n")
    path.chmod(0o644)


def read_spec(folder: str) -> ProblemSpec:
    """Return the problem that is frozen in `folder`. Raises SetupError if there is none."""
    try:
        return _SPEC.validate_json((Path(folder) / SPEC).read_bytes())
    except (OSError, ValidationError) as error:
        raise SetupError(f"{folder or 'this run'} holds no frozen problem: launch again") from error
