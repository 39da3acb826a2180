"""The edit format of a model's reply: a hypothesis and SEARCH/REPLACE blocks. Pure functions.

    HYPOTHESIS: why the change should help

    FILE: path/of/file.py
    <<<<<<< SEARCH
    whole lines as they are
    =======
    whole lines as they should be
    >>>>>>> REPLACE

    DELETE: path/of/old.py

An empty SEARCH creates a file. Markers have seven characters, or any one length from 4 to 20 within
a block, for files that contain such lines themselves. Tolerated, because models do it and it is
unambiguous: code fences anywhere; an indented block; a path line without `FILE:`; no path if the
previous block's file or the only file is meant; prose; prose instead of `HYPOTHESIS:`. Other forms
of a reply are in reply_forms.py, what a path and a SEARCH may mean in apply_edits.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

MAX_REPLY_CHARS = 1_000_000
MAX_HYPOTHESIS_CHARS = 1_000
MAX_PATH_CHARS = 255
MAX_CHANGES = 100

_OPEN = re.compile(r"([ \t]*)(<{4,20}) ?(?:SEARCH|ORIGINAL|HEAD):?\s*", re.IGNORECASE)
_ANY_MIDDLE = re.compile(r"\s*={4,20}\s*")
_ANY_END = re.compile(r"\s*(?:>{4,20} ?\w*:?|<{4,20} ?(?:REPLACE|UPDATED)):?\s*", re.IGNORECASE)
_KEYWORD = re.compile(
    r"[\s*_#>`-]*(?:\d+[.)] )?(HYPOTHESIS|FILE|DELETE)[*_`]*\s*:[*_]*\s*(.*)", re.IGNORECASE
)
_HEADING = re.compile(r"[\s*_#]*HYPOTHESIS[\s*_]*", re.IGNORECASE)
_MODIFIED = re.compile(r"\s+\((?:modified|edited|edit|new|new file|updated)\)$", re.IGNORECASE)
_FENCE = re.compile(r"\s*(```|~~~)")
_PATH = re.compile(
    r"[\s*_#>`]*((?:[\w@.+-]+/)*[\w@+-][\w@.+-]*\.\w+|(?:[\w@.+-]+/)+[\w@.+-]+)[\s*_`:]*"
)
_WRAPPING = "*_`\"' \t"


class EditError(Exception):
    """A reply that cannot be used; the message tells the model what to fix."""

    error_kind: Literal["malformed", "unapplied"]


class MalformedError(EditError):
    """The reply does not follow the format."""

    error_kind = "malformed"


class UnappliedError(EditError):
    """The reply follows the format, but its edits do not fit the files."""

    error_kind = "unapplied"


@dataclass(frozen=True, slots=True)
class EditBlock:
    """Replace the lines `search` by the lines `replace`. An empty `path` names no file."""

    path: str
    search: tuple[str, ...]
    replace: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Deletion:
    """Delete a file."""

    path: str


@dataclass(frozen=True, slots=True)
class WholeFile:
    """Replace a file by `lines`, or create it.

    `copied`: the model wrote all the lines, so they may be a part that it takes for the whole.
    """

    path: str
    lines: tuple[str, ...]
    copied: bool = True


FileChange = EditBlock | Deletion | WholeFile


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """A one-line hypothesis and at least one change, in the reply's order."""

    hypothesis: str
    changes: tuple[FileChange, ...]


def parse_reply(text: str) -> ParsedReply:
    """Parse a reply. Raises MalformedError if it does not follow the format."""
    reader = ReplyReader(clean(text).split("\n"))
    reader.read()
    if not reader.changes:
        raise MalformedError("the answer holds no SEARCH/REPLACE block and no DELETE line")
    return parsed(reader.hypothesis or reader.prose, reader.changes)


def parsed(hypothesis: Sequence[str], changes: Sequence[FileChange]) -> ParsedReply:
    """Return the reply of these parts. Raises MalformedError if they are not complete."""
    if len(changes) > MAX_CHANGES:
        raise MalformedError(f"the answer has more than {MAX_CHANGES} blocks")
    line = " ".join(" ".join(hypothesis).split())
    if not line:
        raise MalformedError("the answer has no HYPOTHESIS line")
    return ParsedReply(line[:MAX_HYPOTHESIS_CHARS], tuple(changes))


def has_blocks(text: str) -> bool:
    """Return whether a line of `text` opens a block."""
    return any(map(_OPEN.fullmatch, text.split("\n")))


def clean(text: str) -> str:
    """Return `text` as git can store it: valid UTF-8, newline line ends, no control characters."""
    text = text.encode("utf-8", "replace").decode().replace("\r\n", "\n").replace("\r", "\n")
    return re.sub(r"[\x00-\x08\x0b\x0e-\x1f\x7f]", "", text)


class ReplyReader:
    """Parser of a reply's lines, in one pass."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines
        self._index = 0
        self._path = ""
        self._candidate = ""
        self._in_hypothesis = False
        self.hypothesis: list[str] = []
        self.prose: list[str] = []
        self.changes: list[FileChange] = []

    def read(self) -> None:
        """Read all lines into `hypothesis`, `prose` and `changes`."""
        while self._index < len(self._lines):
            line = self._lines[self._index]
            opening = _OPEN.fullmatch(line)
            if opening:
                self._block(opening[1], len(opening[2]))
            else:
                self.take(line)
                self._index += 1

    @property
    def path(self) -> str:
        """The path on the lines read last, "" for none."""
        return self._candidate

    @path.setter
    def path(self, path: str) -> None:
        self._candidate = path

    def take(self, line: str) -> None:
        """Read a line outside all blocks."""
        keyword = _KEYWORD.fullmatch(line)
        if keyword:
            self._keyword(keyword[1].upper(), keyword[2].strip())
        elif _HEADING.fullmatch(line):
            self._keyword("HYPOTHESIS", "")
        elif not line.strip() or _FENCE.match(line):
            self._in_hypothesis = self._in_hypothesis and not self.hypothesis
        elif bare := _PATH.fullmatch(line[: MAX_PATH_CHARS + 1]):
            self._candidate, self._in_hypothesis = bare[1], False
        else:
            self._candidate = ""
            (self.hypothesis if self._in_hypothesis else self.prose).append(line)

    def _keyword(self, keyword: str, rest: str) -> None:
        self._in_hypothesis = keyword == "HYPOTHESIS" and not self.hypothesis
        if keyword == "HYPOTHESIS":
            self.hypothesis += [rest] if self._in_hypothesis and rest else []
        elif keyword == "FILE":
            self._candidate = _MODIFIED.sub("", rest).strip(_WRAPPING)
        else:
            self.changes.append(Deletion(rest.strip(_WRAPPING)))

    def _block(self, indent: str, length: int) -> None:
        number = len(self.changes) + 1
        middle = self._find(indent, "=" * length, _ANY_MIDDLE, number)
        search = self._lines[self._index + 1 : middle]
        self._index = middle
        end = self._find(indent, ">" * length, _ANY_END, number)
        replace = self._lines[middle + 1 : end]
        self._path, self._candidate = self._candidate or self._path, ""
        self._index, self._in_hypothesis = end + 1, False
        sides = (tuple(line.removeprefix(indent) for line in side) for side in (search, replace))
        self.changes.append(EditBlock(self._path, *sides))

    def _find(self, indent: str, mark: str, any_: re.Pattern[str], number: int) -> int:
        """Return the index of the next marker: of the block's length, else the only other one."""
        exact = re.compile(rf"{indent}{mark}(?: ?(?:REPLACE|UPDATED):?)?\s*", re.IGNORECASE)
        others = []
        for index in range(self._index + 1, len(self._lines)):
            line = self._lines[index]
            if exact.fullmatch(line):
                return index
            if any_.fullmatch(line):
                others.append(index)
            elif _OPEN.fullmatch(line):
                break
        if len(others) == 1:
            return others[0]
        shown = mark if mark.startswith("=") else f"{mark} REPLACE"
        raise MalformedError(f"block {number} has no line `{shown}` where it should be")
