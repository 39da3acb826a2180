"""The JSON form of a reply, for small models: they pick lines from an enumeration. Pure functions.

Small models fail to copy lines exactly; asked for a line of an enumeration, by a server that
enforces the schema, they cannot. Measured with a 1.5 B model on a file of 106 lines, 8 requests:
free SEARCH/REPLACE applied 4 times, this form 8 times.

    {"hypothesis": "...", "edits": [{"path": "p.py", "first": 3, "last": 3, "replacement": "x"}]}

Lines are numbered from 1 as the prompt shows them; `last` is `first` where it is missing, and an
empty replacement deletes the lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from swarm.agents.llm.search_replace import (
    MAX_CHANGES,
    FileChange,
    MalformedError,
    ParsedReply,
    UnappliedError,
    WholeFile,
    parsed,
)

MAX_LINES = 1_500
"""Lines of a genome up to which this form is offered: servers compile the enumeration."""

INSTRUCTION = """\
Answer with one JSON object and nothing else:
{"hypothesis": "what you change and why", "edits": [{"path": %s, "first": %d, "last": %d,
"replacement": "the new text of those lines, indentation included"}]}
`first` and `last` are numbers of lines of the file as it is now, shown above before each line."""

_Line = Annotated[int, Field(ge=1, le=10_000_000)]


class _Edit(BaseModel):
    path: str = ""
    first: _Line
    last: _Line | None = None
    replacement: str


class _Answer(BaseModel):
    hypothesis: str = ""
    edits: list[_Edit] = Field(min_length=1, max_length=MAX_CHANGES)


def schema(genome: Mapping[str, str]) -> dict[str, Any]:
    """Return the JSON schema of an answer about these files."""
    longest = max((text.count("\n") + 1 for text in genome.values()), default=1)
    line = {"type": "integer", "enum": list(range(1, longest + 1))}
    edit = {
        "path": {"type": "string", "enum": list(genome)},
        "first": line,
        "last": line,
        "replacement": {"type": "string"},
    }
    edits = {"type": "array", "minItems": 1, "items": _object(edit)}
    return _object({"hypothesis": {"type": "string"}, "edits": edits})


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    required = list(properties)
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def find(text: str) -> object | None:
    """Return the JSON object with `edits` that is all of a reply, fenced or not; None if none."""
    bare = re.sub(r"^\s*```(?:json)?\s*|\s*```\s*$", "", text.strip())
    if not (bare.startswith("{") and '"edits"' in bare):
        return None
    try:
        value: object = json.loads(bare, strict=False)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"the JSON of the answer does not parse: {error}") from None
    return value


def read(value: object, genome: Mapping[str, str]) -> ParsedReply:
    """Return the change that a JSON answer describes, all its numbers being those of `genome`."""
    try:
        answer = _Answer.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        raise MalformedError(
            f"the JSON of the answer is not as asked: {path} {first['msg']}"
        ) from None
    by_path: dict[str, list[_Edit]] = {}
    for edit in answer.edits:
        by_path.setdefault(_path(edit.path, genome), []).append(edit)
    changes: list[FileChange] = [
        _rewritten(path, genome[path], edits) for path, edits in by_path.items()
    ]
    return parsed([answer.hypothesis], changes)


def _path(path: str, genome: Mapping[str, str]) -> str:
    if not path and len(genome) == 1:
        return next(iter(genome))
    if path not in genome:
        raise UnappliedError(
            f"there is no such file; the files are: {', '.join(sorted(genome)[:20])}"
        )
    return path


def _rewritten(path: str, text: str, edits: list[_Edit]) -> WholeFile:
    lines = text.split("\n")
    if text.endswith("\n"):
        lines.pop()
    ordered = sorted(edits, key=lambda edit: edit.first, reverse=True)
    above = len(lines) + 1
    for edit in ordered:
        last = edit.first if edit.last is None else edit.last
        if not edit.first <= last < above:
            raise UnappliedError(
                f"{path}: lines {edit.first} to {last} do not exist (the file has {len(lines)}) or"
                " belong to two edits"
            )
        above = edit.first
        new = edit.replacement.removesuffix("\n")
        lines[edit.first - 1 : last] = new.split("\n") if new else []
    return WholeFile(path, tuple(lines), copied=False)
