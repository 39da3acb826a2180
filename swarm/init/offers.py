"""Offers: commands of a repository that seem to measure it, each with what belongs to it.

`swarm init` asks about them on a terminal and names the first one elsewhere. Reading is pure: the
paths of all tracked files go in, and a function that returns the text of one.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from swarm.init.sources import measured_files, printed_names

Read = Callable[[str], str]
"""Returns the text of a tracked file, "" where it is no text."""

INTERPRETERS = {".py": "python", ".js": "node", ".mjs": "node", ".sh": "sh"}
"""The program that runs a script, by the script's suffix."""

MAX_DEPTH = 3
"""Folders above a script that is offered."""

_BENCHMARK = re.compile(r"(?:bench|benchmarks?|perf)(?![a-z])", re.IGNORECASE)
_SUPPORTING = re.compile(r"test_|conftest|setup|reference|bench|perf", re.IGNORECASE)
_TARGET = re.compile(r"^([A-Za-z0-9][\w.-]*)\s*:(?!=)", re.MULTILINE)
_EVALUATE = re.compile(r"^def\s+evaluate\s*\(\s*candidate\b", re.MULTILINE)
_CHECK_NAMES = ("test", "tests", "check")
_SIMPLE_COMMAND = re.compile(r"[\w./@:=-]+(?: [\w./@:=*-]+)*")
_C_SUFFIXES = (".c", ".cc", ".cpp", ".cu", ".rs", ".go")


@dataclass(frozen=True, slots=True)
class Offer:
    """A way to measure the repository; "" and () where nothing was found.

    - `source`: the file that it was found in
    - `run`: the command, or `evaluate`: the file of an evaluate function
    - `metrics`: names of the numbers that it seems to print
    - `genome`: files that it seems to measure
    - `build`, `prepare`, `checks`: commands that go with it
    """

    source: str
    run: str = ""
    evaluate: str = ""
    metrics: tuple[str, ...] = ()
    genome: tuple[str, ...] = ()
    build: str = ""
    prepare: str = ""
    checks: tuple[str, ...] = ()


def find_offers(files: Collection[str], read: Read) -> list[Offer]:
    """Return the offers of a repository with these tracked `files`, the likeliest first."""
    near = sorted((path for path in files if path.count("/") <= MAX_DEPTH), key=_place)
    finders = (_evaluators, _trainers, _scripts, _package_scripts, _make_targets)
    found = [offer for finder in finders for offer in finder(near, read)]
    checks = _checks(files, read)
    return [replace(offer, checks=checks) for offer in found]


def _place(path: str) -> tuple[int, str]:
    return path.count("/"), path


def _evaluators(files: Collection[str], read: Read) -> Iterator[Offer]:
    """Yield each evaluate.py: a frozen function, or a script that prints."""
    for path in files:
        if posixpath.basename(path) != "evaluate.py":
            continue
        text = read(path)
        if _EVALUATE.search(text):
            yield Offer(path, evaluate=path, metrics=("score",), genome=_beside(path, files))
        else:
            yield _script(path, text, files)


def _beside(path: str, files: Collection[str]) -> tuple[str, ...]:
    """Return the one other Python file beside `path` that is no test, () where there are more."""
    folder = posixpath.dirname(path)
    others = [
        file
        for file in files
        if posixpath.dirname(file) == folder
        and file.endswith(".py")
        and file != path
        and not _SUPPORTING.match(posixpath.basename(file))
    ]
    return tuple(others) if len(others) == 1 else ()


def _trainers(files: Collection[str], read: Read) -> Iterator[Offer]:
    """Yield each train.py, with the prepare.py beside it."""
    for path in files:
        if posixpath.basename(path) == "train.py":
            prepare = posixpath.join(posixpath.dirname(path), "prepare.py")
            offer = Offer(path, f"python {path}", metrics=printed_names(read(path)), genome=(path,))
            yield replace(offer, prepare=f"python {prepare}") if prepare in files else offer


def _scripts(files: Collection[str], read: Read) -> Iterator[Offer]:
    for path in files:
        place = PurePosixPath(path)
        if place.suffix in INTERPRETERS and _BENCHMARK.match(place.stem):
            yield _script(path, read(path), files)


def _script(path: str, text: str, files: Collection[str]) -> Offer:
    run = f"{INTERPRETERS[PurePosixPath(path).suffix]} {path}"
    return Offer(path, run, metrics=printed_names(text), genome=measured_files(path, text, files))


def _package_scripts(files: Collection[str], read: Read) -> Iterator[Offer]:
    """Yield the benchmarks among package.json's scripts."""
    for name, command in _npm_scripts(files, read).items():
        if not _BENCHMARK.match(name):
            continue
        offer = Offer("package.json", _npm_command(name, command))
        scripts = [word for word in command.split() if word in files]
        if scripts:
            found = _script_facts(scripts[0], files, read)
            offer = replace(offer, metrics=found.metrics, genome=found.genome)
        yield offer


def _script_facts(path: str, files: Collection[str], read: Read) -> Offer:
    text = read(path)
    return Offer(path, metrics=printed_names(text), genome=measured_files(path, text, files))


def _npm_scripts(files: Collection[str], read: Read) -> dict[str, str]:
    try:
        package = json.loads(read("package.json")) if "package.json" in files else {}
    except (ValueError, RecursionError):
        return {}
    scripts = package.get("scripts") if isinstance(package, dict) else None
    if not isinstance(scripts, dict):
        return {}
    return {str(name): text for name, text in scripts.items() if isinstance(text, str)}


def _npm_command(name: str, command: str) -> str:
    """Return a script's own command where it starts node: npm itself takes 0.2 s of each trial."""
    if command.startswith("node ") and _SIMPLE_COMMAND.fullmatch(command):
        return command
    return f"npm run --silent {name}"


def _make_targets(files: Collection[str], read: Read) -> Iterator[Offer]:
    """Yield the benchmarks among the Makefile's targets; its `all` or `build` comes first."""
    makefile = next((name for name in ("Makefile", "makefile", "GNUmakefile") if name in files), "")
    if not makefile:
        return
    targets = dict.fromkeys(_TARGET.findall(read(makefile)))
    build = next((f"make {name}" for name in ("all", "build") if name in targets), "")
    sources = tuple(
        path
        for path in files
        if path.endswith(_C_SUFFIXES)
        and not re.match(r"(?:bench|test|main)", posixpath.basename(path))
    )
    metrics = tuple(
        dict.fromkeys(
            name
            for path in files
            if path.endswith(_C_SUFFIXES)
            for name in printed_names(read(path))
        )
    )
    for name in targets:
        if _BENCHMARK.match(name):
            run = f"make --silent {name}"
            yield Offer(makefile, run, metrics=metrics, genome=sources, build=build)


def _checks(files: Collection[str], read: Read) -> tuple[str, ...]:
    """Return the commands by which the repository tests itself."""
    if any(re.fullmatch(r"(.*/)?(test_[^/]*|[^/]*_test)\.py", path) for path in files):
        folder = next((f" {name}" for name in ("tests", "test") if _has_folder(name, files)), "")
        return (f"python -m pytest -q{folder}",)
    scripts = _npm_scripts(files, read)
    if "test" in scripts and "no test specified" not in scripts["test"]:
        return (_npm_command("test", scripts["test"]),)
    makefile = next((name for name in ("Makefile", "makefile", "GNUmakefile") if name in files), "")
    targets = _TARGET.findall(read(makefile)) if makefile else []
    return next(((f"make --silent {name}",) for name in _CHECK_NAMES if name in targets), ())


def _has_folder(name: str, files: Collection[str]) -> bool:
    return any(path.startswith(f"{name}/") for path in files)
