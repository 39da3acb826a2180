"""The JSON form of a reply, for small models: they pick lines from a list. Pure functions.

Small models fail to copy lines exactly, and to keep to a form that is described. So they are shown
a few lines of code, drawn by chance, and a server that enforces the schema lets them name one of
these and nothing else:

    {"edits": [{"line": "3| LR = 0.1", "replacement": "LR = 0.2"}], "hypothesis": "..."}

The hypothesis comes last: of 16 that a model of 1.5 B wrote first, 2 said what its edits changed,
so what later agents were told of the others was wrong; of the first 6 that it wrote last, 5 did.

A replacement is moved to the indentation of the line that it replaces; an empty one deletes it.
Where a server enforces nothing, `line` may be a number or the text alone; `first` and `last`, which
larger models choose by themselves, are numbers of lines too.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, Field, ValidationError

from islands.genome.languages import language_of, tokens
from swarm.agents.agent_json import read_json
from swarm.agents.llm.excerpts import Excerpt
from swarm.agents.llm.search_replace import (
    MAX_CHANGES,
    FileChange,
    MalformedError,
    ParsedReply,
    UnappliedError,
    WholeFile,
    parsed,
)

MAX_LINES = 16
"""Lines to pick from in one proposal: fewer are less to read; the next proposal sees others."""

MAX_LINE_CHARS = 120

FORM_CHARS = 1_600
"""About what the list and its instruction take of a prompt."""

MAX_EDITS = 3

MAX_TEXT_CHARS = 240
"""Characters of a hypothesis or a replacement: small models repeat themselves without an end."""

MAX_TOKENS = 1_024
"""Tokens of an answer."""

INSTRUCTION = """\
# How to answer

With one JSON object and nothing else. Each of "edits" has a "line", copied from the list that the
message to you ends with, number included, and as "replacement" the code that shall stand there
instead, which must differ from it; "hypothesis" says in a sentence what these edits change and why
the score should improve."""

LIST = """\
Change one of these lines:

%s

{"edits": [{"line": "...", "replacement": "..."}], "hypothesis": "..."}"""

_LABEL = re.compile(r"\s*+(?:(?P<path>[^|]+):)?(?P<number>\d{1,7}) ?\|(?P<text>.*)", re.DOTALL)

_NUMBER = re.compile(r"\s*+(?P<number>\d{1,7})\s*+")
"""A text that is the number of a line: `\\d` takes the digits that `int` takes, no superscripts."""

_VALUE = re.compile(r"(?<![\w.])\d|[=:] *(?:[\"']|true\b|false\b)", re.IGNORECASE)
"""A line with a number, or that sets a text or a switch."""


class _Edit(BaseModel):
    path: str = ""
    line: Annotated[str | int, Field(validation_alias=AliasChoices("line", "first"))]
    last: str | int | None = None
    replacement: str


class _Answer(BaseModel):
    hypothesis: str = ""
    edits: list[_Edit] = Field(min_length=1, max_length=MAX_CHANGES)


def draw_lines(shown: Mapping[str, Excerpt], draw: random.Random) -> tuple[str, ...]:
    """Return lines of code that an answer may pick, in order, each with its number.

    Two thirds of them have a value that can be changed, as far as there are as many.
    """
    several = len(shown) > 1
    found = [
        (index, number, f"{path}:" if several else "", line)
        for index, (path, excerpt) in enumerate(shown.items())
        for number, line in _lines_of_code(path, excerpt)
    ]
    draw.shuffle(found)
    values = [one for one in found if _VALUE.search(one[3])]
    others = [one for one in found if not _VALUE.search(one[3])]
    first = max(MAX_LINES * 2 // 3, MAX_LINES - len(others))
    picked = [*values[:first], *others][:MAX_LINES]
    return tuple(f"{path}{number}| {line}" for _, number, path, line in sorted(picked))


def _lines_of_code(path: str, excerpt: Excerpt) -> Iterator[tuple[int, str]]:
    """Yield number and text of lines that hold more than comments and a string."""
    number, start, code = excerpt.first, 0, False
    text, language = excerpt.text + "\n", language_of(path)
    kinds = {"word", "number"} if language.kind == "code" else {"word", "number", "string"}
    for token in tokens(text, language):
        if token.kind == "newline":
            line = text[start : token.start].strip()
            if code and len(line) <= MAX_LINE_CHARS:
                yield number, line
            number, start, code = number + 1, token.end, False
        elif token.kind in kinds:
            code = True
        elif inner := text.count("\n", token.start, token.end):  # a string of several lines
            number, start, code = number + inner, text.rindex("\n", 0, token.end) + 1, False


def form(lines: Sequence[str]) -> str:
    """Return the list that an answer picks from, with its form."""
    return LIST % "\n".join(lines)


def schema(lines: Sequence[str]) -> dict[str, Any]:
    """Return the JSON schema of an answer that picks from `lines`."""
    text = {"type": "string", "maxLength": MAX_TEXT_CHARS}
    edit = _object({"line": {"type": "string", "enum": [*lines]}, "replacement": text})
    edits = {"type": "array", "minItems": 1, "maxItems": MAX_EDITS, "items": edit}
    return _object({"edits": edits, "hypothesis": text})


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
        value: object = read_json(bare, strict=False)
    except ValueError as error:
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
    by_path: dict[str, list[_Span]] = {}
    for edit in answer.edits:
        path, first_line, text = _located(edit.line, edit.path, genome)
        last = first_line if edit.last is None else _located(edit.last, path, genome)[1]
        by_path.setdefault(path, []).append((first_line, last, text, edit.replacement))
    changes: list[FileChange] = [
        _rewritten(path, genome[path], spans) for path, spans in by_path.items()
    ]
    return parsed([answer.hypothesis], changes)


_Span = tuple[int, int, str | None, str]
"""First and last line, the text that the answer gives for the first, and what replaces them."""


def _located(line: str | int, path: str, genome: Mapping[str, str]) -> tuple[str, int, str | None]:
    """Return file, number and text of a line as an answer names it; the text is None if not told.

    Where the number does not fit the text, the text counts if only one line of the file has it.
    """
    label = _LABEL.fullmatch(line) if isinstance(line, str) else None
    path = _path((label and label["path"]) or path, genome)
    if isinstance(line, int):
        return path, line, None
    if alone := _NUMBER.fullmatch(line):
        return path, int(alone["number"]), None
    text = (label["text"] if label else line).strip()
    there = [one.strip() for one in genome[path].split("\n")]
    number = int(label["number"]) if label else 0
    if not (1 <= number <= len(there) and there[number - 1] == text):
        same = [n for n, one in enumerate(there, 1) if one == text]
        if len(same) == 1:
            number = same[0]
        elif not label:
            raise UnappliedError(f"{path} has no line `{text[:MAX_LINE_CHARS]}`")
    return path, number, text


def _path(path: str, genome: Mapping[str, str]) -> str:
    if not path and len(genome) == 1:
        return next(iter(genome))
    if path not in genome:
        raise UnappliedError(
            f"there is no such file; the files are: {', '.join(sorted(genome)[:20])}"
        )
    return path


def _rewritten(path: str, text: str, spans: list[_Span]) -> WholeFile:
    lines = text.split("\n")
    if text.endswith("\n"):
        lines.pop()
    before, above = [*lines], len(lines) + 1
    for first, last, told, replacement in sorted(spans, key=lambda span: span[0], reverse=True):
        if not 1 <= first <= last < above:
            raise UnappliedError(
                f"{path}: lines {first} to {last} do not exist (the file has {len(lines)}) or"
                " belong to two edits"
            )
        old = lines[first - 1]
        if told is not None and told != old.strip():
            raise UnappliedError(f"{path}: line {first} is `{old.strip()[:MAX_LINE_CHARS]}`")
        above = first
        lines[first - 1 : last] = _as_lines(replacement, old)
    if lines == before:
        first, _, _, _ = spans[0]
        raise UnappliedError(
            f"{path}: what shall replace line {first} is the line as it is,"
            f" `{before[first - 1].strip()[:MAX_LINE_CHARS]}`: change it, or pick another"
        )
    return WholeFile(path, tuple(lines), copied=False)


def _as_lines(replacement: str, old: str) -> list[str]:
    """Return the lines of a replacement, without numbers, moved to the indentation of `old`."""
    new = replacement.strip("\r\n").splitlines() if replacement.strip() else []
    if new and all(re.match(r"\s*\d{1,7}\| ", line) for line in new):
        new = [line.partition("| ")[2] for line in new]
    mine, margin = (_indentation(line) for line in (new[0] if new else "", old))
    feed = "\r" if old.endswith("\r") else ""
    return [
        (margin + line.removeprefix(mine)).rstrip() + feed if line.strip() else feed for line in new
    ]


def _indentation(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]
