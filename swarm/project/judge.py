"""Freezes what judges candidates at launch: evaluate.py, the held files, the base's genome.

See `harness.problem.judge` for where it goes. What evaluate.py takes is read from its source here,
since no code of the user's runs outside a sandbox.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from harness import tasks
from harness.contract import SetupError, Split
from harness.problem.fresh import PARTS
from harness.problem.judge import BASE, HELD, JUDGE
from harness.problem.spec import TREE
from islands.git.plumbing import Plumbing
from islands.git.tracked import TrackedFile, read_blobs
from swarm.project.schema.settings import Settings

EVALUATE = "evaluate.py"

PARAMETERS = ("candidate", "seed", "part", "reference", "depth")
"""What `evaluate` may take, by name."""

SUBMODULE, LINK, EXECUTABLE = "160000", "120000", "100755"

LFS_POINTER = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, slots=True)
class Judge:
    """The parts of a problem's record that describe its judge; see ProblemSpec."""

    evaluate: str = ""
    takes: tuple[str, ...] = ()
    entry: str = ""
    score: str = ""
    held: dict[Split, str] = field(default_factory=dict)
    fresh: str = ""
    held_files: str = ""


def evaluate_of(settings: Settings) -> str:
    """Return the path of evaluate.py, "" for a task that has none."""
    if "evaluate" not in tasks.kind(settings.task).keys:
        return ""
    return settings.evaluate or EVALUATE


def judge_paths(settings: Settings) -> tuple[str, ...]:
    """Return the paths that candidates may not see."""
    held = settings.held.by_name().values() if settings.held else ()
    return tuple(path for path in (evaluate_of(settings), *held) if path)


def freeze_judge(
    git: Plumbing, settings: Settings, files: Sequence[TrackedFile], draft: Path
) -> Judge:
    """Write what the judge sees below `draft`, beside the frozen files; return its description.

    Raises SetupError for what is missing or cannot be used.
    """
    evaluate = evaluate_of(settings)
    held = settings.held.by_split() if settings.held else {}
    if not (evaluate or held or settings.score):
        return Judge()
    shutil.copytree(draft / TREE, draft / JUDGE, symlinks=True, copy_function=os.link)
    judge = _judge(git, settings, files, draft)
    for part in (JUDGE, HELD, BASE):
        _open_folders(draft / part)
    return judge


def _judge(git: Plumbing, settings: Settings, files: Sequence[TrackedFile], draft: Path) -> Judge:
    evaluate = evaluate_of(settings)
    held = settings.held.by_split() if settings.held else {}
    paths = settings.held.by_name() if settings.held else {}
    for split, path in paths.items():
        _write(git, _at(files, path, f"held.{split}"), path, draft / HELD / split)
    fresh = paths.get("fresh", "")
    if fresh:
        _require_cases(draft / HELD, held.get("dev", ""), fresh)
    digest = _digest(file for path in paths.values() for file in _at(files, path, "held"))
    judge = Judge(
        score=settings.score or "", held=held, fresh=fresh, held_files=digest if held else ""
    )
    if not evaluate:
        return judge
    source = _at(files, evaluate, "evaluate")
    _write(git, source, evaluate, draft / JUDGE / PurePosixPath(evaluate).parent)
    takes = parameters(next(read_blobs(git, source))[1], evaluate)
    for path in settings.genome if "reference" in takes else ():
        _write(git, _at(files, path, "genome"), path, draft / BASE / PurePosixPath(path).parent)
    entry = entry_of(settings.genome, [file.path for file in files])
    return replace(judge, evaluate=evaluate, takes=takes, entry=entry)


def _require_cases(held: Path, dev: str, fresh: str) -> None:
    """Raise SetupError unless `dev` and `fresh` are folders of enough cases."""
    places = [held / "dev" / PurePosixPath(dev).name, held / "fresh" / PurePosixPath(fresh).name]
    if not dev or not all(place.is_dir() for place in places):
        raise SetupError(
            "held.fresh: it and held.dev must be folders whose entries are cases of one kind: make"
            " one file or folder of each case"
        )
    if (count := len(list(places[1].iterdir()))) < PARTS:
        raise SetupError(
            f"held.fresh: {fresh} has {count} entries, and each change that is kept takes {PARTS}:"
            " add some, or delete the key"
        )


def parameters(source: bytes, path: str) -> tuple[str, ...]:
    """Return what the function `evaluate` in a file takes. Raises SetupError with the fix."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None) or 1
        raise SetupError(f"{path}:{line}: it does not parse ({error.args[0]}): fix it") from None
    example = "`def evaluate(candidate, seed, part)`"
    found = [node for node in body if isinstance(node, ast.FunctionDef) and node.name == "evaluate"]
    if not found:
        raise SetupError(f"{path}:1: no function `evaluate` at its top level: add {example}")
    given = found[-1].args
    named = [argument.arg for argument in (*given.args, *given.kwonlyargs)]
    optional = named[len(given.args) - len(given.defaults) : len(given.args)]
    optional += [
        argument.arg
        for argument, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)
        if default is not None
    ]
    unknown = [name for name in named if name not in PARAMETERS and name not in optional]
    if given.posonlyargs or unknown or "candidate" not in named:
        line, takes = found[-1].lineno, ", ".join(PARAMETERS[1:])
        raise SetupError(
            f"{path}:{line}: `evaluate` must take candidate, and may take {takes}: write {example}"
        )
    return tuple(name for name in named if name in PARAMETERS)


def entry_of(genome: Sequence[str], files: Iterable[str]) -> str:
    """Return the Python file of `genome` whose functions are called.

    It is the first path, or if that is a folder its `__init__.py` or its only Python file. Raises
    SetupError where there is none.
    """
    first = genome[0]
    if first.endswith(".py"):
        return first
    inside = [file for file in files if file.startswith(f"{first}/") and file.endswith(".py")]
    if f"{first}/__init__.py" in inside:
        return f"{first}/__init__.py"
    if len(inside) == 1:
        return inside[0]
    raise SetupError(
        f"genome: the first path names the Python file whose functions are called, such as"
        f" [src/fast.py]; {first} holds {len(inside) or 'none'}"
    )


def _at(files: Iterable[TrackedFile], path: str, key: str) -> list[TrackedFile]:
    """Return the tracked files at or below `path`. Raises SetupError naming `key`."""
    found = [file for file in files if file.path == path or file.path.startswith(f"{path}/")]
    if not found:
        raise SetupError(f"{key}: {path} is not in the launch commit: commit it")
    for file in found:
        if file.mode in (SUBMODULE, LINK):
            raise SetupError(f"{key}: {file.path} is a link or a submodule: commit the file itself")
    return found


def _write(git: Plumbing, files: Sequence[TrackedFile], path: str, folder: Path) -> None:
    """Write the files at or below `path` of the repository into `folder`, under its last name."""
    parent = PurePosixPath(path).parent
    for file, data in read_blobs(git, files):
        place = folder / PurePosixPath(file.path).relative_to(parent)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(lfs_content(git, file.path, data))
        place.chmod(0o444)


def lfs_content(git: Plumbing, path: str, data: bytes) -> bytes:
    """Return a file's content; that of a pointer of Git LFS is in the repository's own store.

    Raises SetupError where it was not fetched.
    """
    if not data.startswith(LFS_POINTER):
        return data
    match = re.search(rb"^oid sha256:([0-9a-f]{64})$", data, re.MULTILINE)
    oid = match[1].decode() if match else ""
    stored = git.common_dir / "lfs" / "objects" / oid[:2] / oid[2:4] / oid
    content = stored.read_bytes() if oid and stored.is_file() else b""
    if hashlib.sha256(content).hexdigest() != oid:
        raise SetupError(f"{path} is a pointer of Git LFS: run `git lfs pull`")
    return content


def _open_folders(top: Path) -> None:
    """Let every user see what lies below `top`: as root a sandbox has a uid of its own."""
    for folder, _, _ in os.walk(top):
        Path(folder).chmod(0o755)


def _digest(files: Iterable[TrackedFile]) -> str:
    lines = sorted(f"{file.path}\0{file.blob}\n" for file in files)
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()
