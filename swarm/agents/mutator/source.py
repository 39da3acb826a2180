"""A Python file as the mutator sees it: bytes, syntax tree, and where each node stands.

The tree gives lines and columns in UTF-8 bytes, so edits are spans of bytes: whatever an edit
does not cover survives to the byte, comments and line endings included.
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_right
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the bytes `start` to `end` of file `path` by `text`."""

    path: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Source:
    """A file that parses: its bytes, its tree and the offset of each line's first byte."""

    path: str
    data: bytes
    tree: ast.Module
    starts: tuple[int, ...]

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """Return the offsets of the first byte of `node` and of the byte after its last."""
        last, column = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
        return (self.starts[node.lineno - 1] + node.col_offset, self.starts[last - 1] + column)

    def text(self, node: ast.expr | ast.stmt) -> str:
        """Return the source text of `node`, without parentheses around it."""
        start, end = self.span(node)
        return self.data[start:end].decode()

    def line_end(self, offset: int) -> int:
        """Return the offset of the line ending that follows `offset` (or of the file's end)."""
        found = _LINE_END.search(self.data, offset)
        return found.start() if found else len(self.data)

    def line_start(self, offset: int) -> int:
        """Return the offset of the first byte of the line that holds `offset`."""
        return self.starts[bisect_right(self.starts, offset) - 1]


def parse(text: str) -> ast.Module | None:
    """Return the tree of `text`, None where it has none (or one too deep to be walked)."""
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def read(path: str, text: str) -> Source | None:
    """Return file `path` as a source, None where `text` is not Python that parses."""
    tree = parse(text)
    if tree is None:
        return None
    data = text.encode()
    starts = (0, *(found.end() for found in _LINE_END.finditer(data)))
    return Source(path, data, tree, starts)


def splice(source: Source, edits: tuple[Edit, ...]) -> str | None:
    """Return the text of `source` after `edits`, None where it does not parse or says the same.

    Edits that overlap come to None as well: together they have no meaning.
    """
    data, behind = source.data, len(source.data)
    for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
        if edit.end > behind:
            return None
        data = data[: edit.start] + edit.text.encode() + data[edit.end :]
        behind = edit.start
    text = data.decode()
    tree = parse(text)
    return None if tree is None or same(tree, source.tree) else text


def same(one: ast.AST, other: ast.AST) -> bool:
    """Say whether two trees are equal, wherever in the text their nodes stand."""
    pairs: list[tuple[object, object]] = [(one, other)]
    while pairs:  # not recursive: a sum of a thousand terms is a thousand nodes deep
        left, right = pairs.pop()
        if type(left) is not type(right):
            return False
        if isinstance(left, ast.AST):
            pairs += [(getattr(left, f, None), getattr(right, f, None)) for f in left._fields]
        elif isinstance(left, list) and isinstance(right, list):
            if len(left) != len(right):
                return False
            pairs += list(zip(left, right, strict=True))
        elif left is not right and repr(left) != repr(right):
            return False
    return True
