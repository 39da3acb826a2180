"""The build of a candidate: `build` runs on a writable copy, outside the budget of the trial.

What it made is kept by the digest of what it was made from, and trials see it read-only. The
candidate's code may have run meanwhile, so the archive that comes out of the sandbox is read as
hostile: a build may add files, and changes none that git tracks.

Not covered: nothing of one build is there in the next (no object files, no compiler cache). With
Landlock a build runs in another folder than `run` does, so programs that note their own path fail,
and it cannot run what it has just compiled, since chmod has no effect there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from harness.contract import Trial
from harness.problem.command_sandbox import command_argv, command_policy
from harness.problem.spec import REPO, ProblemSpec
from harness.problem.view import command_words, link_mounts, make_view, read_only_places
from harness.sandbox.policy import Exit, SandboxPolicy

ConfineBuild = Callable[[SandboxPolicy, Sequence[str], Path], Exit]

BUILD_SECONDS = 900.0

MIN_BUILD_MIB = 4096
"""Memory of a build at least; the files that it writes count."""

MAX_ARCHIVE_MIB = 1024

MAX_MEMBERS = 100_000

MAX_DEPTH = 100
"""Folders, one in the other, that a build may leave; whatever removes them recurses."""

KEPT_BUILDS = 32
"""Builds of one problem that are kept on disk, the last ones used."""

GIVEN, ARCHIVE = "/given", "built.tar"

BUILDS = "builds"
"""The folder, in that of a problem, which keeps them."""


class BuildFailedError(Exception):
    """A candidate's build failed; the message is one line, `log` what it printed."""

    def __init__(self, reason: str, log: bytes = b"") -> None:
        super().__init__(reason)
        self.log = log


def place_of(spec: ProblemSpec, problem: str, trial: Trial) -> Path:
    """Return the folder in which the build of `trial`'s candidate is kept."""
    return Path(problem) / BUILDS / f"{_key(spec, Path(trial.genome))}-{trial.sandbox}"


def build(spec: ProblemSpec, problem: str, trial: Trial, confine: ConfineBuild) -> None:
    """Build `trial`'s candidate, unless that was done: its view afterwards is at `place_of`.

    Raises BuildFailedError where the candidate is at fault.
    """
    done = place_of(spec, problem, trial)
    builds = done.parent
    if done.is_dir():
        os.utime(done)
        return
    builds.mkdir(exist_ok=True)
    builds.chmod(0o755)
    with tempfile.TemporaryDirectory(prefix=".draft-", dir=builds) as scratch:
        draft = Path(scratch)
        draft.chmod(0o755)
        view = draft / "view"
        make_view(Path(problem), Path(trial.genome), spec, view, link=trial.sandbox != "none")
        if trial.sandbox != "namespaces":
            link_mounts(spec, view)
        _run(spec, trial, confine, draft)
        _extract(draft / "out" / ARCHIVE, view)
        with suppress(OSError):  # another slice has made it meanwhile
            view.rename(done)
    _forget_oldest(builds)


def _run(spec: ProblemSpec, trial: Trial, confine: ConfineBuild, draft: Path) -> None:
    """Build in a sandbox; the archive is in `draft` afterwards. Raises BuildFailedError."""
    out, repo = draft / "out", draft / "repo"
    for folder in (out, repo):
        folder.mkdir()
    read, write = {GIVEN: draft / "view", **read_only_places(spec)}, {REPO: repo, "/out": out}
    policy = replace(
        command_policy(spec, trial, BUILD_SECONDS, read, write=write),
        memory_mib=max(trial.rung.memory_mib, MIN_BUILD_MIB),
        file_mib=MAX_ARCHIVE_MIB,
        outputs={ARCHIVE: MAX_ARCHIVE_MIB << 20},
        processes=256,
    )
    words = command_words(spec, spec.build, replace(trial, seed=0))
    archive = f"/out/{ARCHIVE}"
    argv = command_argv("build", GIVEN, REPO, archive, *words)
    ended = confine(policy, argv, draft / "log")
    log = (draft / "log").read_bytes()
    if ended.killed:
        limits = {"deadline": f"took more than {BUILD_SECONDS:g} s", "disk": "wrote too much"}
        raise BuildFailedError(
            f"the build {limits.get(ended.killed, f'held more than {policy.memory_mib} MiB')}", log
        )
    if ended.code != 0 or not (out / ARCHIVE).exists():
        raise BuildFailedError(f"the build ended with exit status {ended.code}", log)


def _key(spec: ProblemSpec, genome: Path) -> str:
    """Return the digest of the problem and of all files of a genome."""
    digest = hashlib.sha256(spec.digest.encode())
    for path in sorted(path for path in genome.rglob("*") if path.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(genome)}\0{content}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:32]


def _extract(archive: Path, view: Path) -> None:
    """Add what a hostile archive holds to `view`. Raises BuildFailedError for what it may not."""
    try:
        with tarfile.open(archive, "r:") as tar:
            for number, member in enumerate(tar):
                if number >= MAX_MEMBERS:
                    raise BuildFailedError(f"the build made more than {MAX_MEMBERS:,} files")
                _extract_one(tar, tarfile.data_filter(member, str(view)), view)
    except (tarfile.TarError, ValueError, EOFError, OSError) as error:
        raise BuildFailedError(f"the build left a file that is not taken: {error}") from error


def _extract_one(tar: tarfile.TarFile, member: tarfile.TarInfo, view: Path) -> None:
    place = view / member.name
    if len(place.relative_to(view).parts) > MAX_DEPTH:
        raise BuildFailedError(f"the build left folders that are more than {MAX_DEPTH} deep")
    if member.issparse() or not (member.isreg() or member.issym()):
        raise BuildFailedError(f"the build left {member.name}, which is no regular file")
    if place.is_symlink() or place.exists():
        raise BuildFailedError(f"the build changed {member.name}: it may only add files")
    tar.extract(member, view, set_attrs=False, filter="data")
    if member.isreg():
        place.chmod(0o555 if (member.mode or 0) & 0o100 or _is_program(place) else 0o444)
    for folder in place.parents:
        if folder == view:
            break
        folder.chmod(0o755)


def _is_program(path: Path) -> bool:
    """Return whether a file can be run: with Landlock, chmod has no effect during a build."""
    with path.open("rb") as file:
        head = file.read(4)
    return head == b"\x7fELF" or head.startswith(b"#!")


def _forget_oldest(builds: Path) -> None:
    """Delete the builds that were not used for longest."""
    kept: Mapping[Path, float] = {
        path: path.stat().st_mtime for path in builds.iterdir() if not path.name.startswith(".")
    }
    for path in sorted(kept, key=lambda path: kept[path])[:-KEPT_BUILDS]:
        shutil.rmtree(path, ignore_errors=True)
