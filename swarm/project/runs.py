"""Run folders: where runs live, how one is found or created, and how its state is loaded.

A run is the folder `.swarm/<name>/` of the repository that it improves. `.swarm/` holds a
.gitignore of its own, so nothing in it is ever committed. A linked worktree has its own `.swarm/`.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analysis import ledger
from analysis.ledger import RUNS_HOME
from harness.contract import SetupError
from islands.git.packs import packed_runs
from islands.git.plumbing import require_git

# without this, GitPython raises ImportError where git is missing, before `repository` can report it
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

from git import Git, GitCommandError

if TYPE_CHECKING:
    from islands.events import Event
    from islands.state.run_state import State

HOME = RUNS_HOME

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_NUMBERED = re.compile(r"run([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run's repository (its root) and name, and the paths of everything that the run stores."""

    repo: Path
    name: str

    @property
    def path(self) -> Path:
        """The folder that holds all of the run's state; also holds lineage.duckdb and the lock."""
        return self.repo / HOME / self.name

    @property
    def kept(self) -> dict[str, Path]:
        """The folders that no sandbox may see, by what they are."""
        return {"the repository": self.repo, "the run": self.path}

    @property
    def ledger(self) -> Path:
        """The run's events."""
        return self.path / ledger.NAME

    @property
    def scratch(self) -> Path:
        """Files of one launch; the next launch empties it."""
        return self.path / "scratch"

    @property
    def genomes(self) -> Path:
        """Exported genomes of a launch, one folder a commit."""
        return self.scratch / "genomes"

    @property
    def harness(self) -> Path:
        """Copies of the harness that trials import, one folder a harness version."""
        return self.path / "harness"

    @property
    def problem(self) -> Path:
        """The problem as it was frozen at launch (see harness.problem)."""
        return self.path / "problem"

    @property
    def remeasure(self) -> Path:
        """Genomes and trials of `swarm measure`; the next call empties it."""
        return self.path / "remeasure"

    @property
    def steering(self) -> Path:
        """Commands on their way to the coordinator (swarm/coordinator/inbox.py)."""
        return self.path / "steering"

    @property
    def faults(self) -> Path:
        """Tracebacks of faults in calls of agents (swarm/coordinator/agent_calls.py)."""
        return self.path / "faults.log"

    @property
    def pull_request(self) -> Path:
        """Text of the pull request that `swarm merge --pr` prepares."""
        return self.path / "pull-request.md"


def fold(events: Iterable[Event]) -> State:
    """Return the state that a run's `events`, in ledger order, lead to."""
    # a fifth of a second that whoever only reads a record can do without
    from islands.state.run_state import State  # noqa: PLC0415

    state = State()
    for event in events:
        state.apply(event)
    return state


def load_state(run: RunFolder) -> State:
    """Return the state of `run` according to its ledger. Takes no lock.

    Raises SetupError where there is no ledger or a line of it is broken.
    """
    return fold(event for _, event in ledger.read_events(run.ledger))


def require_stopped(run: RunFolder) -> None:
    """Raise SetupError while a coordinator works on `run`: two would compete for its slices."""
    pid = ledger.writer(run.path)
    if pid is not None:
        raise SetupError(
            f"run {run.name} is in use by process {pid}, and two trials on one slice would disturb"
            " each other: stop it first (Ctrl-C); `swarm launch` resumes it afterwards"
        )


def locate(name: str | None, start: Path | None = None) -> RunFolder:
    """Return the run called `name`, or the one that was active last where no name is given.

    `start` is a folder inside the repository (default: the working directory). Raises SetupError
    outside of a repository, for an invalid name, and where there is no such run.
    """
    repo = repository(start)
    if not name:
        last = latest(repo)
        if last is None:
            raise SetupError(f"{repo} has no run yet: start one with `swarm launch`")
        return last
    run = run_folder(repo, name)
    if not run.ledger.exists():
        names = ", ".join(run.name for run in runs(repo)) or "none yet, `swarm launch` starts one"
        raise SetupError(f"--run {name}: no such run; existing runs: {names}")
    return run


def create(repo: Path, name: str) -> RunFolder:
    """Return the run `name` of repository `repo`; take its name, and create its folder.

    Raises SetupError for an invalid name, for one that another worktree has taken, or where the
    folder cannot be created.
    """
    run = run_folder(repo, name)
    make_home(repo)
    owner = _take_name(run)
    if owner != run.path:
        raise SetupError(
            f"--run {name}: the run of this name is in {owner}, a worktree of this repository:"
            " choose another name"
        )
    _make_folder(run.path)
    return run


def create_next(repo: Path) -> RunFolder:
    """Create a run whose name run<N> no folder, ref or worktree of the repository uses.

    Two launches at a time get two names.
    """
    make_home(repo)
    number = int(next_name(repo).removeprefix("run"))
    while _take_name(RunFolder(repo, f"run{number}")) != RunFolder(repo, f"run{number}").path:
        number += 1
    return create(repo, f"run{number}")


def release_name(run: RunFolder) -> None:
    """Give a run's name back: it was refused or removed."""
    place = _name_place(run)
    with suppress(FileNotFoundError):
        if place.read_text() == str(run.path):
            place.unlink()


def _take_name(run: RunFolder) -> Path:
    """Take a run's name in the git directory that all worktrees share; return whose folder it is.

    A name whose folder is gone, with its worktree, is taken over where no ref is left of it.
    """
    place = _name_place(run)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=place.parent, prefix=".", delete=True) as draft:
        draft.write(str(run.path))
        draft.flush()
        try:
            os.link(draft.name, place)  # whole, or not at all
        except FileExistsError:
            owner = Path(place.read_text())
            if owner.exists() or run.name in _names_in_refs(run.repo):
                return owner
            os.replace(draft.name, place)  # noqa: PTH105 - as os.link above
            Path(draft.name).touch()  # the block removes it
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            raise SetupError(
                f"{place.parent}: this file system has no hard links ({error.strerror}), by which"
                " the name of a run is taken: put the repository on a local disk"
            ) from error
    return run.path


_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""How file systems refuse a second name of a file."""


def _name_place(run: RunFolder) -> Path:
    return _common_dir(run.repo) / "swarm" / "runs" / run.name


def _common_dir(repo: Path) -> Path:
    return Path(Git(repo).rev_parse("--path-format=absolute", "--git-common-dir"))


def make_home(repo: Path) -> Path:
    """Return the folder of all runs of `repo`, which is made and ignored by git.

    Raises SetupError where it cannot be made.
    """
    home = repo / HOME
    _make_folder(home)
    ignored = home / ".gitignore"
    if not ignored.exists():
        ignored.write_text("*\n")
    return home


def remove_empty_home(repo: Path) -> None:
    """Remove the folder of all runs if it holds nothing: a refused command leaves it as it was."""
    home = repo / HOME
    with suppress(OSError):
        for entry in home.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                with suppress(OSError):
                    entry.rmdir()
        if [entry.name for entry in home.iterdir()] == [".gitignore"]:
            (home / ".gitignore").unlink()
            home.rmdir()


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise SetupError(
            f"{error.filename} is a file: move it away, since runs go there"
        ) from error


def runs(repo: Path) -> list[RunFolder]:
    """Return the repository's runs, most recently active first."""
    return [RunFolder(repo, folder.name) for folder in ledger.run_folders(repo)]


def latest(repo: Path) -> RunFolder | None:
    """Return the run that was active last, None where there is no run yet."""
    return next(iter(runs(repo)), None)


def next_name(repo: Path) -> str:
    """Return run<N>, where N is above every number that a run folder or a ref still uses."""
    taken = [path.name for path in (repo / HOME).glob("run*")]
    taken += _names_in_refs(repo)
    numbers = [int(match[1]) for name in taken if (match := _NUMBERED.fullmatch(name))]
    return f"run{max(numbers, default=0) + 1}"


_GIT_PATHS = {
    "GIT_DIR": "--git-dir",
    "GIT_COMMON_DIR": "--git-common-dir",
    "GIT_WORK_TREE": "--show-toplevel",
    "GIT_INDEX_FILE": "--git-path=index",
    "GIT_OBJECT_DIRECTORY": "--git-path=objects",
}
"""Variables that name places of a repository, and what git says of it without them."""


def require_here(places: Mapping[str, str]) -> None:
    """Raise SetupError for a variable that names a place outside the repository around us."""
    for name, value in places.items():
        asked = _GIT_PATHS.get(name, "").split("=")
        try:
            here = str(Git().rev_parse("--path-format=absolute", *asked)) if asked[0] else ""
        except GitCommandError:
            here = ""
        if not here or Path(here).resolve() != Path(value).resolve():
            raise SetupError(
                f"{name} is set, to {value}, which is not the repository of this folder: run"
                f" `env -u {name} swarm ...` in the folder that you mean"
            )


def _names_in_refs(repo: Path) -> list[str]:
    """Return every part of the names of the refs of runs, packed ones too."""
    refs = Git(repo).for_each_ref("--format=%(refname)", "refs/heads/swarm/", "refs/swarm/")
    return [*str(refs).replace("\n", "/").split("/"), *packed_runs(_common_dir(repo))]


def repository(start: Path | None = None) -> Path:
    """Return the root of the git repository around `start` (default: the working directory).

    Raises SetupError where there is none, or no git.
    """
    start = start or Path.cwd()
    require_git()
    try:
        return Path(Git(start).rev_parse("--show-toplevel"))
    except GitCommandError as error:
        reason = _first_line(error)
        if "dubious ownership" in reason:
            raise SetupError(
                f"{reason}: if you trust it, `git config --global --add safe.directory {start}`"
            ) from None
        if reason == "this operation must be run in a work tree":
            raise SetupError(
                f"{start} is inside a git directory, or in a bare repository: change into a working"
                " tree, such as a clone of it (git clone REPO DIR)"
            ) from None
        if reason.startswith("not a git repository"):
            raise SetupError(
                f"{start} is not in a git repository ({reason}): change into one, or create"
                " one with `swarm init DIR`"
            ) from None
        raise SetupError(f"git cannot read the repository of {start}: {reason}") from None


def run_folder(repo: Path, name: str) -> RunFolder:
    """Return the folder of a run, which need not exist. Raises SetupError for an invalid name."""
    unfit = name.endswith((".", ".lock")) or ".." in name
    if unfit or not _NAME.fullmatch(name):
        raise SetupError(
            f"--run {name!r}: a run's name becomes part of branch names: use up to 64 letters,"
            " digits, - _ and ., not beginning with - or ., not ending in . or .lock"
        )
    return RunFolder(repo, name)


def _first_line(error: GitCommandError) -> str:
    """Return git's own reason: a distrusted owner and a missing repository read differently.

    A line that ends in a colon says what the indented lines after it name.
    """
    text = str(error.stderr).strip().removeprefix("stderr:").strip().strip("'")
    first, *more = text.splitlines() or ["git gives no reason"]
    if first.endswith(":"):
        first = f"{first} {', '.join(line.strip() for line in more)}"
    return first.removeprefix("fatal: ")
