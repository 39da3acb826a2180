"""The forms in which models answer, and how each becomes a hypothesis and changes. Pure functions.

| form | recognised by |
| --- | --- |
| SEARCH/REPLACE blocks | a line that opens a block (search_replace.py) |
| unified diff, apply_patch | hunks: `@@`, with or without line numbers |
| JSON | one object with `edits` (line_edits.py) |
| whole files | a FILE line or a path, then a fence |

A reply in one form is understood or refused as a whole; one in two forms is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from swarm.agents.llm import line_edits
from swarm.agents.llm.reasoning import without_reasoning
from swarm.agents.llm.search_replace import (
    MAX_REPLY_CHARS,
    Deletion,
    EditBlock,
    FileChange,
    MalformedError,
    ParsedReply,
    ReplyReader,
    WholeFile,
    clean,
    has_blocks,
    parse_reply,
    parsed,
)

_HUNK = re.compile(r"^@@.*$", re.MULTILINE)
_OLD_FILE = re.compile(r"--- (\S.*)")
_NEW_FILE = re.compile(r"\+\+\+ (\S.*)")
_PATCH_FILE = re.compile(r"\*\*\* (Add|Update|Delete) File: (.+)")
_DIFF_NOISE = re.compile(
    r"(?:diff --git|index |new file mode|deleted file mode|similarity|rename ).*"
)
_FENCE = re.compile(r"\s*(`{3,}|~{3,})([^`]*)")
_PATH_COMMENT = re.compile(r"\s*(?:#|//) ?((?:[\w@.+-]+/)*[\w@+-][\w@.+-]*\.\w+)\s*")
_NOTHING = "/dev/null"
_IN_HUNK = ("", " ", "+", "-", "\\")


def read_reply(text: str, genome: Mapping[str, str]) -> ParsedReply:
    """Return the change that a reply describes. Raises MalformedError if it is in no known form."""
    if len(text) > MAX_REPLY_CHARS:
        raise MalformedError(f"the answer is longer than {MAX_REPLY_CHARS} characters")
    answer = without_reasoning(clean(text))
    if not answer.strip():
        hint = "it holds nothing but reasoning" if text.strip() else "it is empty"
        raise MalformedError(f"the answer cannot be used: {hint}")
    value = line_edits.find(answer)
    if value is not None:
        return line_edits.read(value, genome)
    if has_blocks(answer):
        if _HUNK.search(answer) and _diff(answer.split("\n")):
            raise MalformedError("the answer mixes blocks and a diff: use blocks alone")
        return parse_reply(answer)
    if _HUNK.search(answer):
        return _from_diff(answer)
    return _from_files(answer)


def _from_diff(text: str) -> ParsedReply:
    lines = text.split("\n")
    changes = _diff(lines)
    if not changes:
        raise MalformedError("the diff in the answer has no line that begins with + or -")
    first = next(n for n, line in enumerate(lines) if _starts_diff(line))
    reader = ReplyReader(lines[:first])
    reader.read()
    return parsed(reader.hypothesis or reader.prose, changes)


def _starts_diff(line: str) -> bool:
    return bool(
        line.startswith(("@@", "*** Begin Patch"))
        or _OLD_FILE.fullmatch(line)
        or _PATCH_FILE.fullmatch(line)
        or _DIFF_NOISE.fullmatch(line)
    )


def _diff(lines: Sequence[str]) -> list[FileChange]:
    """Return a block for each hunk of a unified diff or an apply_patch envelope."""
    changes: list[FileChange] = []
    path, old = "", ""
    hunk: list[str] | None = None
    for line, following in zip([*lines, "```"], [*lines[1:], "", ""], strict=True):
        header = _OLD_FILE.fullmatch(line) and _NEW_FILE.fullmatch(following)
        second = not hunk and _NEW_FILE.fullmatch(line)
        if hunk is not None and not header and not second and line[:1] in _IN_HUNK:
            hunk.append(line)
            continue
        changes += _block(path, hunk or [])
        hunk = [] if line.startswith("@@") else None
        if header:
            old = _diff_path(line[4:])
        elif second:
            path = _diff_path(line[4:])
            if path == _NOTHING:
                changes.append(Deletion(old))
        elif match := _PATCH_FILE.fullmatch(line):
            path = match[2].strip()
            hunk = [] if match[1] == "Add" else None
            changes += [Deletion(path)] if match[1] == "Delete" else []
    return changes


def _diff_path(text: str) -> str:
    path = text.split("\t", maxsplit=1)[0].strip()
    return path if path == _NOTHING else path.removeprefix("a/").removeprefix("b/")


def _block(path: str, hunk: Sequence[str]) -> Iterator[EditBlock]:
    end = len(hunk)
    while end and not hunk[end - 1].strip():
        end -= 1  # blank lines after a diff belong to the reply
    body = [line for line in hunk[:end] if not line.startswith("\\")]
    if any(line[:1] in ("+", "-") for line in body):
        search = tuple(line[1:] for line in body if line[:1] != "+")
        replace = tuple(line[1:] for line in body if line[:1] != "-")
        yield EditBlock(path, search, replace)


def _from_files(text: str) -> ParsedReply:
    """Read a reply whose fences hold whole files, each after its path."""
    reader, changes, pending = ReplyReader([]), [], ""
    lines = text.split("\n")
    index = 0
    while index < len(lines):
        opening = _FENCE.fullmatch(lines[index])
        if not opening:
            reader.take(lines[index])
            index += 1
            continue
        end = _fence_end(lines, index + 1, opening[1])
        body = lines[index + 1 : end]
        pending = _fence_path(opening[2], body) or reader.path
        if pending:
            changes.append(WholeFile(pending, tuple(_without_path(body))))
        reader.path = ""
        index = end + 1
    both = [*changes, *reader.changes]
    if not both:
        raise MalformedError(
            "the answer holds no SEARCH/REPLACE block, no diff, no file and no DELETE line"
        )
    return parsed(reader.hypothesis or reader.prose, both)


def _fence_end(lines: Sequence[str], start: int, fence: str) -> int:
    for index in range(start, len(lines)):
        if lines[index].strip() == fence:
            return index
    raise MalformedError(f"a fence that opens with {fence} is never closed: the answer is cut off")


def _fence_path(info: str, body: Sequence[str]) -> str:
    """Return the path in a fence's info string (`python:path`) or in its first line, a comment."""
    named = info.strip().split(" ")[-1].rpartition(":")[2]
    if "/" in named or re.search(r"\.\w+$", named):
        return named.strip("`\"'")
    first = _PATH_COMMENT.fullmatch(body[0]) if body else None
    return first[1] if first else ""


def _without_path(body: Sequence[str]) -> Sequence[str]:
    return body[1:] if body and _PATH_COMMENT.fullmatch(body[0]) else body
