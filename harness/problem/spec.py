"""The record of a frozen problem, and the folder that it travels in.

The folder holds `problem.json` and `tree/`: every frozen file, as a trial sees it, with an empty
place for each path of the genome. It is written once, at launch, and moves as a whole.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness.contract import SPLITS, Direction, SetupError, Split

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
class ModelSpec:
    """The language model that `run` may ask; a trial gets a socket to it, and no key.

    kind: the variables by which `run` finds it begin with this, in capitals
    name: as its provider spells it
    url: its address
    limits: whatever else can change its answers, in words
    """

    kind: str
    name: str
    url: str
    limits: str


@dataclass(frozen=True, slots=True)
class ProblemSpec:
    """A user's problem, frozen at launch.

    task: kind of task
    metric: name of the score; one of the harness's own measures, or what `run` prints
    direction: whether lower or higher is better
    genome: paths that candidates supply, from the root of the repository
    files: digest of the frozen files
    run: command line that makes the score, or the files that it is made from, "" for a genome that
        is called
    evaluate: path of evaluate.py, "" where commands judge
    takes: what its function takes, by name
    entry: path of the genome's file that evaluate calls
    score: command line that scores the files that `run` leaves, "" where it prints the score itself
    held: path by split of what only the judge sees
    fresh: path of the folder of fresh cases, "" for none (`harness.problem.fresh`)
    held_files: digest of the held files
    checks: command lines that must exit with 0 before a candidate is kept
    check_seconds: seconds that all of them may take together
    pattern: regular expression whose group is the score, "" for the usual forms
    folder: folder of program.md, where commands run, "" at the root of the repository
    python: what `python` is
    build: command line that runs on a writable copy before `run`, "" for none
    mounts: host folders that trials see read-only, by their path in a trial
    programs: folders of programs, in a trial, beside the system's
    home: links in the trial's HOME: paths in a trial, by path below HOME
    prepared: digest of what `prepare` left, "" where nothing is prepared
    text: whether the genome is text that is read and not run
    network: whether `run` has the host's network
    env: variables of the user's that `run` has
    model: the language model that `run` may ask, None for none
    """

    task: str
    metric: str
    direction: Direction
    genome: tuple[str, ...]
    files: str
    run: str = ""
    evaluate: str = ""
    takes: tuple[str, ...] = ()
    entry: str = ""
    score: str = ""
    held: Mapping[Split, str] = field(default_factory=dict)
    fresh: str = ""
    held_files: str = ""
    checks: tuple[str, ...] = ()
    check_seconds: float = 300.0
    pattern: str = ""
    folder: str = ""
    python: PythonSpec = field(default_factory=lambda: PythonSpec("", (), ""))
    build: str = ""
    mounts: Mapping[str, str] = field(default_factory=dict)
    programs: tuple[str, ...] = ()
    home: Mapping[str, str] = field(default_factory=dict)
    prepared: str = ""
    text: bool = False
    network: bool = False
    env: tuple[str, ...] = ()
    model: ModelSpec | None = None

    @property
    def digest(self) -> str:
        """The sha256 of all that a score depends on, paths of this machine left out."""
        facts = dataclasses.asdict(self)
        for place in ("mounts", "programs", "home"):
            del facts[place]
        facts["python"] = self.python.version
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @property
    def cwd(self) -> str:
        """The folder in which commands run, as a trial sees it."""
        return self.inside(self.folder)

    @property
    def imports(self) -> tuple[str, ...]:
        """The folders that Python imports from, as a trial sees them."""
        return tuple(self.inside(path) for path in self.python.paths)

    @property
    def wants_reference(self) -> bool:
        """Whether evaluate compares the candidate with the base."""
        return "reference" in self.takes

    @property
    def splits(self) -> tuple[Split, ...]:
        """What trials can be scored on: `dev`, and the other splits that something is held for."""
        return tuple(split for split in SPLITS if split == "dev" or split in self.held)

    def inside(self, path: str) -> str:
        """Return a path of the repository as a trial sees it."""
        return f"{REPO}/{path}" if path else REPO


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


def variables(folder: str) -> tuple[str, ...]:
    """Return the user's variables that the problem in `folder` needs; none where there is none."""
    return read_spec(folder).env if folder else ()
