"""`prepare`: what has to be made once, such as data that is downloaded, before anything is tried.

It runs at launch, as the user, on the launch commit and never on a candidate's code, in a copy of
the repository and a HOME of its own. What it leaves in either is seen by trials, read-only, at the
same places. It runs again where the frozen files or the command have changed.

Not covered: what it writes outside of its folder and HOME is not seen. Without a sandbox a command
can change what was prepared.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.contract import SetupError
from harness.problem.spec import REPO, ProblemSpec

INSIDE = "/prepared"
"""Where a trial sees the HOME that was filled."""

SHARED = {".cache": 1, ".config": 1, ".local": 2}
"""Folders of HOME that trials write to as well: so many levels further down is what is prepared."""

DONE = "done.json"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `prepare` left.

    digest: of all files
    mounts: host paths, by their path in a trial
    home: links in a trial's HOME, by path below it
    """

    digest: str
    mounts: dict[str, str]
    home: dict[str, str]


def prepare(command: str, spec: ProblemSpec, view: Path, folder: Path) -> Prepared:
    """Run the command, unless it has run on the same files, and return what it left.

    `view` is the repository as of the launch commit, to be copied; results are kept below `folder`.
    Raises SetupError where the command fails.
    """
    key = hashlib.sha256(f"{spec.files}\n{spec.folder}\n{command}".encode()).hexdigest()[:24]
    place = folder / key
    if not (place / DONE).exists():
        shutil.rmtree(place, ignore_errors=True)
        (place / "home").mkdir(parents=True)
        shutil.copytree(view, place / "repo", symlinks=True)
        _make_writable(place / "repo")
        _run(command, spec, place)
        (place / DONE).write_text(json.dumps(asdict(_sealed(view, place))))
    return Prepared(**json.loads((place / DONE).read_text()))


def _run(command: str, spec: ProblemSpec, place: Path) -> None:
    folders = (str(Path(spec.python.program).parent), *spec.programs, os.environ.get("PATH", ""))
    env = {**os.environ, "HOME": str(place / "home"), "PATH": ":".join(folders)}
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        env.pop(name, None)
    print(f"prepare: {command}", file=sys.stderr)  # noqa: T201  # it may take minutes
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=place / "repo" / spec.folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        check=False,
    )
    if done.returncode:
        raise SetupError(
            f"prepare: `{command}` ended with exit status {done.returncode}: see above"
        )


def _sealed(view: Path, place: Path) -> Prepared:
    """Make what is new read-only for every user, and describe it."""
    mounts, home = {}, {}
    made = [*_new(view, place / "repo")]
    for path in made:
        mounts[f"{REPO}/{path.relative_to(place / 'repo')}"] = str(path)
    filled = [*_entries(place / "home")]
    if filled:
        mounts[INSIDE] = str(place / "home")
    for path in filled:
        inside = str(path.relative_to(place / "home"))
        home[inside] = f"{INSIDE}/{inside}"
    digest = hashlib.sha256()
    for top in (*made, *filled):
        for path in sorted([top, *top.rglob("*")]):
            if path.is_file() and not path.is_symlink():
                digest.update(f"{path.relative_to(place)}\0{_content(path)}\n".encode())
    for path in (place / "home", *made, *(place / "home").rglob("*")):
        _open_to_all(path)
    for top in made:
        for path in top.rglob("*"):
            _open_to_all(path)
    return Prepared(digest.hexdigest(), mounts, home)


def _new(view: Path, repo: Path) -> Iterator[Path]:
    """Yield the topmost paths of `repo` that `view` does not have."""
    for path in sorted(repo.iterdir()):
        before = view / path.name
        if path.name == "__pycache__" or path.is_symlink():
            continue
        if not before.exists():
            yield path
        elif path.is_dir():
            yield from _new(before, path)


def _entries(home: Path, levels: int = 0) -> Iterator[Path]:
    """Yield what is to be linked from a trial's HOME, whose shared folders stay its own."""
    for path in sorted(home.iterdir()):
        below = SHARED.get(path.name, 0) if not levels else levels - 1
        if below and path.is_dir():
            yield from _entries(path, below)
        else:
            yield path


def _content(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open_to_all(path: Path) -> None:
    if path.is_symlink():
        return
    folder = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
    path.chmod(0o755 if folder else 0o444)


def _make_writable(repo: Path) -> None:
    for path in (repo, *repo.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | stat.S_IWUSR)
