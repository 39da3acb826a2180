"""Decides which genomes run where no file of the system's is visible.

A sandbox that sees the system's files can leave notes there for the next (see
`harness.sandbox.backends.bubblewrap`). What a genome and the frozen files that it imports need
decides: where that is the standard library and numpy, which are in the memory of the slice's
zygote, its sandboxes get a private copy of the repository and nothing else.

Not covered: imports by name at run time, and files of the system's that are opened by their path.
Such a genome fails its first trial, the baseline.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath

from harness.problem.spec import TREE

MAX_COPIED_BYTES = 16 << 20
"""Of the frozen files, which are copied for each trial."""

PACKAGES = frozenset({"numpy"})

NEED_FILES = frozenset(
    ("ctypes", "curses", "ensurepip", "inspect", "pty", "ssl", "subprocess", "tkinter", "zoneinfo")
)
"""Modules of the standard library that read files of the system's or start its programs."""


@cache
def runs_in_memory(folder: str, base: Path, entry: str, roots: tuple[str, ...]) -> bool:
    """Return whether the genome in `base`, over the frozen files in `folder`, needs no more.

    `entry` is the file that is imported, `roots` what it imports from, both from the repository's
    root.
    """
    tree = Path(folder) / TREE
    files = [path for path in tree.rglob("*") if path.is_file()]
    if sum(path.stat().st_size for path in files) > MAX_COPIED_BYTES:
        return False
    places = tuple(dict.fromkeys((*map(str, PurePosixPath(entry).parents), *roots)))
    waiting, seen = [entry], set[str]()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for name in _imports(_text(path, base, tree)):
            local = [file for root in places for file in _files(name, root, path, base, tree)]
            waiting += local
            top = name.partition(".")[0]
            if not (local or name.startswith(".") or top in PACKAGES or _in_library(top)):
                return False
    return True


def _in_library(name: str) -> bool:
    return name in sys.stdlib_module_names and name not in NEED_FILES


def _imports(text: str) -> Iterator[str]:
    """Yield the names of what a module imports, with leading dots where they are relative."""
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start, dot = "." * node.level + (node.module or ""), "." * bool(node.module)
            yield from (f"{start}{dot}{alias.name}" for alias in node.names)


def _text(path: str, base: Path, tree: Path) -> str:
    found = next((file for file in (base / path, tree / path) if file.is_file()), None)
    return found.read_bytes().decode("utf-8", "replace") if found else ""


def _files(name: str, root: str, path: str, base: Path, tree: Path) -> Iterator[str]:
    """Yield the files of the repository that an import of `name` in the file `path` runs."""
    module = name.lstrip(".")
    above = len(name) - len(module)
    folder = PurePosixPath(path).parents[above - 1] if above else PurePosixPath(root)
    parts = [part for part in module.split(".") if part]
    for count in range(1, len(parts) + 1):
        inner = folder.joinpath(*parts[:count])
        for file in (f"{inner}.py", f"{inner}/__init__.py"):
            if any((place / file).is_file() for place in (base, tree)):
                yield file
