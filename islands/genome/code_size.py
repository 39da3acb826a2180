"""Size of code: its lines without comments, blank lines and docstrings.

Python is counted as its syntax tree prints, so that layout changes nothing; other languages are
counted line by line, plain text without its blank lines.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping

from islands.genome.syntax_diff import NotPythonError, parse, without_no_ops
from islands.genome.text_diff import text_lines
from islands.records import Entry


def code_change(head: Mapping[str, Entry], change: Mapping[str, Entry | None]) -> int:
    """Return the lines of code that `change` adds to `head`, less those that it removes."""
    after = {path: entry for path, entry in change.items() if entry is not None}
    before = {path: head[path] for path in change if path in head}
    return sum(map(_size, after.items())) - sum(map(_size, before.items()))


def code_lines(path: str, data: bytes) -> int:
    """Return how many lines of code a file has."""
    if not path.endswith(".py"):
        return text_lines(path, data)
    try:
        tree = without_no_ops(parse(data))
    except NotPythonError:
        return text_lines(path, data)
    return sum(1 for line in ast.unparse(tree).splitlines() if line.strip())


def _size(file: tuple[str, Entry]) -> int:
    path, entry = file
    return code_lines(path, entry.data)
