"""The edit format of a model's reply: a hypothesis and SEARCH/REPLACE blocks. Pure functions.

    HYPOTHESIS: why the change should help

    FILE: path/of/file.py
    <<<<<<< SEARCH
    whole lines as they are
    =======
    whole lines as they should be
    >>>>>>> REPLACE

    DELETE: path/of/old.py

An empty SEARCH creates a file. Lines are compared exactly, except for white space at their ends.
Markers have seven characters, or any one length from 5 to 20 within a block, for files that contain
such lines themselves. Tolerated, because models do it and it is unambiguous: code fences anywhere;
a path line without `FILE:`; no path if the previous block's file or the only file is meant; the end
of a path if only one file has it; prose; prose instead of `HYPOTHESIS:`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

MAX_REPLY_CHARS = 1_000_000
MAX_HYPOTHESIS_CHARS = 1_000
MAX_PATH_CHARS = 255
MAX_CHANGES = 100
MAX_REPORTED_ERRORS = 4

BYTE_ORDER_MARK = "\ufeff"
"""A file that begins with it keeps it; models do not see it."""

_OPEN = re.compile(r"(<{5,20}) ?SEARCH:?\s*")
_KEYWORD = re.compile(r"[\s*_#>`-]*(HYPOTHESIS|FILE|DELETE)[*_`]*\s*:[*_]*\s*(.*)", re.IGNORECASE)
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


FileChange = EditBlock | Deletion


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """A one-line hypothesis and at least one change, in the reply's order."""

    hypothesis: str
    changes: tuple[FileChange, ...]


def parse_reply(text: str) -> ParsedReply:
    """Parse a reply. Raises MalformedError if it does not follow the format."""
    if len(text) > MAX_REPLY_CHARS:
        raise MalformedError(f"the answer is longer than {MAX_REPLY_CHARS} characters")
    reader = _ReplyReader(clean(text).split("\n"))
    reader.read()
    if not reader.changes:
        raise MalformedError("the answer holds no SEARCH/REPLACE block and no DELETE line")
    if len(reader.changes) > MAX_CHANGES:
        raise MalformedError(f"the answer has more than {MAX_CHANGES} blocks")
    hypothesis = " ".join(" ".join(reader.hypothesis or reader.prose).split())
    if not hypothesis:
        raise MalformedError("the answer has no HYPOTHESIS line")
    return ParsedReply(hypothesis[:MAX_HYPOTHESIS_CHARS], tuple(reader.changes))


def clean(text: str) -> str:
    """Return `text` as git can store it: valid UTF-8, newline line ends, no control characters."""
    text = text.encode("utf-8", "replace").decode().replace("\r\n", "\n").replace("\r", "\n")
    return re.sub(r"[\x00-\x08\x0b\x0e-\x1f\x7f]", "", text)


class _ReplyReader:
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
        while self._index < len(self._lines):
            line = self._lines[self._index]
            opening = _OPEN.fullmatch(line)
            if opening:
                self._block(len(opening[1]))
            else:
                self._line(line)
                self._index += 1

    def _line(self, line: str) -> None:
        """Read a line outside all blocks."""
        keyword = _KEYWORD.fullmatch(line)
        if keyword:
            self._keyword(keyword[1].upper(), keyword[2].strip())
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
            self._candidate = rest.strip(_WRAPPING)
        else:
            self.changes.append(Deletion(rest.strip(_WRAPPING)))

    def _block(self, length: int) -> None:
        number = len(self.changes) + 1
        middle = self._find(re.compile("=" * length + r"\s*"), "=" * length, number)
        search = self._lines[self._index + 1 : middle]
        self._index = middle
        close = ">" * length
        end = self._find(re.compile(close + r" ?(REPLACE:?)?\s*"), f"{close} REPLACE", number)
        replace = self._lines[middle + 1 : end]
        self._path, self._candidate = self._candidate or self._path, ""
        self._index, self._in_hypothesis = end + 1, False
        self.changes.append(EditBlock(self._path, tuple(search), tuple(replace)))

    def _find(self, marker: re.Pattern[str], shown: str, number: int) -> int:
        for index in range(self._index + 1, len(self._lines)):
            if marker.fullmatch(self._lines[index]):
                return index
            if _OPEN.fullmatch(self._lines[index]):
                break
        raise MalformedError(f"block {number} has no line `{shown}` where it should be")


def apply_changes(genome: Mapping[str, str], reply: ParsedReply) -> dict[str, str | None]:
    """Return the new text of every changed file, None if it is deleted.

    Changes are applied in order, each to the result of the previous one; all or none. Raises
    UnappliedError, naming the first blocks that do not fit and showing the lines nearest to each.
    """
    texts, errors = dict(genome), []
    for number, change in enumerate(reply.changes, 1):
        try:
            _apply_change(texts, change)
        except UnappliedError as error:
            errors.append(f"Block {number} ({change.path or 'no path'}): {error}")
            if len(errors) == MAX_REPORTED_ERRORS:
                break
    if errors:
        raise UnappliedError("\n\n".join(errors))
    paths = dict.fromkeys([*genome, *texts])
    changed = {path: texts.get(path) for path in paths if texts.get(path) != genome.get(path)}
    if not changed:
        raise UnappliedError("the edits change nothing")
    return changed


def _apply_change(texts: dict[str, str], change: FileChange) -> None:
    if isinstance(change, Deletion):
        # no guessing here: only a block's lines can confirm which file an incomplete path means
        if change.path not in texts:
            raise _unknown_path(texts)
        del texts[change.path]
    elif any(line.strip() for line in change.search):
        path = _existing(texts, change.path)
        texts[path] = _replace(texts[path], path, change)
    else:
        path = _new_path(change.path)
        if texts.get(path):
            raise UnappliedError("SEARCH is empty, and the file exists: quote the lines to change")
        texts[path] = "".join(f"{line}\n" for line in change.replace)


def _existing(texts: Mapping[str, str], path: str) -> str:
    """Return the one file that a block's `path` means. Raises UnappliedError if it is not one."""
    path = path.removeprefix("./")
    if path in texts:
        return path
    candidates = [name for name in texts if name.endswith(f"/{path}")] if path else list(texts)
    if len(candidates) != 1:
        raise _unknown_path(texts)
    return candidates[0]


def _unknown_path(texts: Mapping[str, str]) -> UnappliedError:
    names = ", ".join(sorted(texts)[:20])
    return UnappliedError(f"there is no such file; the files are: {names}")


def _new_path(path: str) -> str:
    path = path.removeprefix("./")
    parts = path.split("/")
    usable = path.isprintable() and "\\" not in path and len(path) <= MAX_PATH_CHARS
    if not usable or any(part in ("", ".", "..") for part in parts):
        raise UnappliedError("a new file needs a FILE: line with a path below the repository")
    return path


def _replace(text: str, path: str, block: EditBlock) -> str:
    mark = BYTE_ORDER_MARK if text.startswith(BYTE_ORDER_MARK) else ""
    lines, ended = text.removeprefix(mark).split("\n"), text.endswith("\n")
    if ended:
        lines.pop()
    search, replace = (
        [line.removeprefix(BYTE_ORDER_MARK) for line in side]
        for side in (block.search, block.replace)
    )
    start = _unique_match(lines, path, search)
    feed = "\r" if lines[0].endswith("\r") else ""
    lines[start : start + len(search)] = [line + feed for line in replace]
    return mark + "\n".join(lines) + ("\n" if ended and lines else "")


def _unique_match(lines: Sequence[str], path: str, search: Sequence[str]) -> int:
    """Return the index of the only match of `search`; UnappliedError unless there is one."""
    matches = list(_matches([line.rstrip() for line in lines], [line.rstrip() for line in search]))
    if len(matches) == 1:
        return matches[0]
    if not matches:
        near = nearest(lines, search)
        raise UnappliedError(f"SEARCH is not in the file. The nearest lines of {path}:\n{near}")
    numbers = ", ".join(str(index + 1) for index in matches[:10])
    raise UnappliedError(
        f"SEARCH is in the file {len(matches)} times, at lines {numbers}:"
        " quote more lines around it"
    )


def _matches(lines: list[str], search: list[str]) -> Iterator[int]:
    for start in range(len(lines) - len(search) + 1):
        if lines[start] == search[0] and lines[start : start + len(search)] == search:
            yield start


def nearest(lines: Sequence[str], search: Sequence[str], around: int = 2, most: int = 24) -> str:
    """Return the lines most like `search`, numbered, at most `most` of them."""
    offset = _alignment([line.strip() for line in lines], [line.strip() for line in search])
    first = max(offset - around, 0)
    last = min(offset + min(len(search), most - 2 * around) + around, len(lines))
    return "\n".join(
        f"{index + 1:>5} | {lines[index].rstrip()[:200]}" for index in range(first, last)
    )


def _alignment(lines: list[str], search: list[str]) -> int:
    """Return the index in `lines` where `search` would begin if its best line matched there."""
    # most failures are wrong indentation or one wrong line, so the longest equal line finds the
    # place; otherwise only one line is matched approximately, which bounds the cost
    search = search[:100]
    anchors = sorted((line for line in set(search) if line), key=lambda line: (-len(line), line))
    for anchor in anchors:
        if anchor in lines:
            return max(lines.index(anchor) - search.index(anchor), 0)
    clipped = [line[:120] for line in lines]
    close = difflib.get_close_matches(anchors[0][:120], clipped, n=1) if anchors else []
    return max(clipped.index(close[0]) - search.index(anchors[0]), 0) if close else 0
