"""Source files: bytes and lines, for Python also the syntax tree and the byte span of each node.

The tree gives lines and columns in UTF-8 bytes, so edits are spans of bytes: everything outside an
edit stays the same to the byte, comments and line endings included.
"""

from __future__ import annotations

import ast
import codecs
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import pairwise

from islands.genome.structured_data import NotParsedError
from islands.genome.syntax_diff import NotPythonError, compare, parse

_LINE_END = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the bytes `start` to `end` of file `path` by `text`."""

    path: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class TextSource:
    """A file of any language.

    `blocks`: byte spans of whole lines that can be compared by themselves.
    """

    path: str
    data: bytes
    blocks: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Source(TextSource):
    """A Python file that parses.

    `blocks` hold whole top-level statements.
    `line_starts`: byte offset of each line.
    """

    tree: ast.Module = field(default_factory=lambda: ast.Module([], []))
    line_starts: tuple[int, ...] = (0,)

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """Return the byte offsets of the start and the end (exclusive) of `node`."""
        last, column = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
        return (
            self.line_starts[node.lineno - 1] + node.col_offset,
            self.line_starts[last - 1] + column,
        )

    def text(self, node: ast.expr | ast.stmt) -> str:
        """Return the source text of `node`, without parentheses around it."""
        start, end = self.span(node)
        return self.data[start:end].decode()

    def line_end(self, offset: int) -> int:
        """Return the offset of the next line ending after `offset`, or of the file's end."""
        match = _LINE_END.search(self.data, offset)
        return match.start() if match else len(self.data)

    def line_start(self, offset: int) -> int:
        """Return the offset of the start of the line that holds `offset`."""
        return self.line_starts[bisect_right(self.line_starts, offset) - 1]


def parse_source(path: str, text: str) -> Source | None:
    """Return file `path` parsed; None if admission would refuse `text` as Python."""
    data = text.encode("utf-8", "surrogatepass")
    try:
        tree = parse(data)
    except NotPythonError:
        return None
    # the first line's columns do not count a byte order mark
    first = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
    starts = (first, *(match.end() for match in _LINE_END.finditer(data)))
    return Source(path, data, _blocks(tree, starts, len(data)), tree, starts)


def splice(source: TextSource, edits: tuple[Edit, ...]) -> bytes | None:
    """Return `source` after `edits`; None if it does not parse or does the same as before.

    Overlapping edits give None, too.
    """
    ordered = sorted(edits, key=lambda edit: (edit.start, edit.end))
    if any(edit.end > after.start for edit, after in pairwise(ordered)):
        return None
    touched = {_block(source, edit) for edit in ordered}
    try:
        changed = [_is_changed(source, ordered, block) for block in touched]
    except NotParsedError:
        return None
    return _replaced(source.data, ordered) if any(changed) else None


def _block(source: TextSource, edit: Edit) -> tuple[int, int]:
    """Return the span of the top-level statements around `edit`, else of the whole file.

    Only that span is compared, which takes a tenth of the time in a file of 400 lines.
    """
    inside = [(s, e) for s, e in source.blocks if s <= edit.start and edit.end <= e]
    return inside[0] if inside else (0, len(source.data))


def _is_changed(source: TextSource, edits: list[Edit], block: tuple[int, int]) -> bool:
    start, end = block
    in_block = [
        Edit(edit.path, edit.start - start, edit.end - start, edit.text)
        for edit in edits
        if start <= edit.start and edit.end <= end
    ]
    old = source.data[start:end]
    return compare(source.path, old, _replaced(old, in_block)) == "changed"


def _replaced(data: bytes, edits: list[Edit]) -> bytes:
    for edit in reversed(edits):
        data = data[: edit.start] + edit.text.encode() + data[edit.end :]
    return data


def _blocks(tree: ast.Module, starts: tuple[int, ...], length: int) -> tuple[tuple[int, int], ...]:
    """Return the spans of whole lines that hold one or more top-level statements."""
    spans: list[tuple[int, int]] = []
    for node in tree.body:
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
        last = node.end_lineno or node.lineno
        start, end = starts[first - 1], starts[last] if last < len(starts) else length
        if spans and start < spans[-1][1]:  # two statements on one line
            start = spans.pop()[0]
        spans.append((start, end))
    return tuple(spans)
