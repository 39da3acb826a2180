"""Freezes a problem at launch: the frozen files of the launch commit and the record of the rest.

What a trial would not see as the user does is refused here, by name, and not in mid-run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from harness import tasks
from harness.contract import SetupError
from harness.problem.interpreter import find_python
from harness.problem.judge import JUDGE
from harness.problem.mounts import plan_mounts
from harness.problem.prepare import prepare
from harness.problem.spec import REPO, TREE, ModelSpec, ProblemSpec, write_spec
from harness.problem.view import make_view
from islands.environment import secret
from islands.git.branches import Branches
from islands.git.plumbing import Plumbing
from islands.git.tracked import TrackedFile, read_blobs, tracked_files
from swarm.project.judge import (
    EXECUTABLE,
    LINK,
    SUBMODULE,
    Judge,
    freeze_judge,
    judge_paths,
    lfs_content,
)
from swarm.project.program import Program
from swarm.project.runs import HOME
from swarm.project.schema.agents import ModelSection
from swarm.project.schema.settings import MetricSection

CHECK_SECONDS = 300.0
"""Seconds that all checks of a commit may take together, unless program.md says otherwise."""


def freeze(repo: Path, commit: str, program: Program, into: Path) -> str:
    """Freeze the problem of `program` in `commit` below `into`; return that folder's path.

    Returns "" for a task that has no problem of the user's. Raises SetupError for what a trial
    could not be given.
    """
    if not tasks.kind(program.settings.task).required:
        return ""
    git = Plumbing(repo)
    listed = tracked_files(git, commit)
    frozen = _frozen(program, listed)
    into.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".problem-", dir=into.parent))
    try:
        _write_tree(git, frozen, draft / TREE)
        judge = freeze_judge(git, program.settings, listed, draft)
        spec = _spec(repo, program, frozen, judge)
        _make_places(spec, listed, draft / TREE)
        if program.settings.prepare:
            spec = _prepared(repo, commit, spec, program.settings.prepare, draft)
            _make_places(spec, listed, draft / TREE)
        if (draft / JUDGE).exists():
            _make_places(replace(spec, genome=()), listed, draft / JUDGE)
        write_spec(spec, draft)
        _require_evidence(program, draft)
        draft.chmod(0o755)
        shutil.rmtree(into, ignore_errors=True)  # only now: whoever reads it finds one or the other
        draft.rename(into)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return str(into)


def _prepared(repo: Path, commit: str, spec: ProblemSpec, command: str, draft: Path) -> ProblemSpec:
    """Run `prepare` on the launch commit; return the problem with what it left."""
    with tempfile.TemporaryDirectory(dir=draft) as scratch:
        genome, view = Path(scratch) / "genome", Path(scratch) / "view"
        Branches(repo, "prepare", spec.genome).export(commit, genome)
        make_view(draft, genome, spec, view, link=False)
        done = prepare(command, spec, view, repo / HOME / "prepared")
    return replace(
        spec,
        prepared=done.digest,
        mounts={**spec.mounts, **done.mounts},
        home={**spec.home, **done.home},
    )


def _require_evidence(program: Program, problem: Path) -> None:
    """Raise SetupError where program.md wants verified evidence and the task gives reports."""
    settings = program.settings
    given = tasks.load(settings.task, str(problem)).evidence
    if settings.evidence == "verified" and given != "verified":
        raise SetupError(
            f"program.md: evidence must be verified, and the metric is only {given}, since the"
            " candidate's code runs in `run`: add `score: python score.py`, make it"
            " `task: function`, or choose a measure of the harness's own as the metric"
        )


def _spec(repo: Path, program: Program, frozen: list[TrackedFile], judge: Judge) -> ProblemSpec:
    settings = program.settings
    metric = settings.metric
    if settings.direction is None or metric is None:
        raise AssertionError("read_program has asked for them")
    folder = program.path.rpartition("/")[0]
    mounts = plan_mounts(repo, folder, settings.mount or ())
    return ProblemSpec(
        task=settings.task,
        metric=metric.name if isinstance(metric, MetricSection) else metric,
        pattern=metric.pattern if isinstance(metric, MetricSection) else "",
        direction=settings.direction,
        genome=settings.genome,
        files=_digest(frozen),
        checks=settings.checks or (),
        check_seconds=settings.check_seconds or CHECK_SECONDS,
        run=settings.run or "",
        evaluate=judge.evaluate,
        takes=judge.takes,
        entry=judge.entry,
        score=judge.score,
        held=judge.held,
        fresh=judge.fresh,
        held_files=judge.held_files,
        folder=folder,
        python=find_python(repo, repo / folder, settings.python or ""),
        build=settings.build or "",
        mounts=mounts.places,
        programs=tuple(mounts.programs),
        home=mounts.home,
        text=bool(settings.text),
        network=bool(settings.network),
        env=_variables(settings.env or ()),
        model=_model(settings.model),
    )


def _model(section: ModelSection | None) -> ModelSpec | None:
    """Return what of a model decides its answers."""
    if section is None:
        return None
    model = section.model_settings()
    limits = f"{model.max_output_tokens} tokens, effort {model.effort or 'default'}"
    return ModelSpec(model.kind, model.model, model.url, limits)


def _variables(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return `names`. Raises SetupError for a variable that is not set here."""
    for name in names:
        if not secret(name):
            raise SetupError(f"env: {name} is not set: `export {name}=...`, then launch")
    return names


def _frozen(program: Program, files: Sequence[TrackedFile]) -> list[TrackedFile]:
    """Return the files that trials see beside the genome, program.md left out."""
    settings = program.settings
    wanted, judges = settings.files or ("",), judge_paths(settings)
    chosen = [
        file
        for file in files
        if any(_covers(path, file.path) for path in wanted)
        and not any(_covers(path, file.path) for path in settings.genome)
        and not any(_covers(path, file.path) for path in judges)
        and file.path != program.path
    ]
    for file in files:
        if file.mode in (LINK, SUBMODULE) and any(_covers(p, file.path) for p in settings.genome):
            raise SetupError(
                f"{file.path} in the genome is a symbolic link or a submodule, and candidates are"
                " regular files: name the file itself in `genome:`"
            )
    for file in chosen:
        if file.mode == SUBMODULE:
            raise SetupError(
                f"{file.path} is a submodule, which trials would not see: commit its files, or"
                " leave it out with `files:` in program.md"
            )
    return chosen


def _covers(path: str, file: str) -> bool:
    return path in ("", ".", file) or file.startswith(f"{path}/")


def _digest(files: list[TrackedFile]) -> str:
    lines = sorted(f"{file.path}\0{file.mode}\0{file.blob}\n" for file in files)
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()


def _write_tree(git: Plumbing, files: list[TrackedFile], tree: Path) -> None:
    """Write the frozen files."""
    tree.mkdir()
    for file, data in read_blobs(git, files):
        path = tree / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.mode == LINK:
            path.symlink_to(_target(file.path, os.fsdecode(data)))
        else:
            path.write_bytes(lfs_content(git, file.path, data))
            path.chmod(0o555 if file.mode == EXECUTABLE else 0o444)


def _make_places(spec: ProblemSpec, files: list[TrackedFile], tree: Path) -> None:
    """Make an empty file or folder for each path of the genome and each mount in the repository.

    Every user can see all folders afterwards.
    """
    names = {file.path for file in files}
    mounts = (path.removeprefix(f"{REPO}/") for path in spec.mounts if path.startswith(f"{REPO}/"))
    for path in (*spec.genome, *mounts):
        place = tree / path
        if path in names or Path(spec.mounts.get(f"{REPO}/{path}", "/")).is_file():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        else:
            place.mkdir(parents=True, exist_ok=True)
    for folder in (tree, *(path for path in tree.rglob("*") if _is_folder(path))):
        folder.chmod(0o755)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _target(path: str, target: str) -> str:
    """Return a link's target. Raises SetupError if it leads out of the repository."""
    inside = os.path.normpath(PurePosixPath(path).parent / target)
    if target.startswith("/") or inside.split("/")[0] == "..":
        raise SetupError(
            f"{path} is a symbolic link out of the repository, to {target}: replace it by a file,"
            " or leave it out with `files:` in program.md"
        )
    return target
