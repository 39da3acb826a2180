"""Splits a text into YAML front matter and prose, and knows on which line every key stands.

The YAML is plain data: mappings, lists, text, whole numbers, numbers, true, false, null, read as
YAML 1.2 reads them (`no` is text, `1:30` is text). Anchors, aliases, tags and duplicate keys are
refused: they save typing in large files and hide things in small ones. A key without a value is
as good as not written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from harness.contract import SetupError

MOST_BYTES = 256 * 1024
"""All of the file: its prose goes into every brief."""

MOST_DEPTH = 8
"""Of one YAML value inside another; also what keeps PyYAML's recursion short."""

Value = str | int | float | bool | None | list["Value"] | dict[str, "Value"]

SourcePosition = tuple[str | int, ...]
"""A place in the front matter: the keys and list positions that lead to it."""


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """What stood between the `---` lines, the line (from 1) of each place in it, and the rest."""

    values: dict[str, Value]
    lines: Mapping[SourcePosition, int]
    prose: str

    def line(self, where: SourcePosition) -> int:
        """Return the line of `where`, or of the nearest place around it that was written."""
        while where not in self.lines:
            where = where[:-1]
        return self.lines[where]


def read_front_matter(text: str | bytes, source: str) -> FrontMatter:
    """Split `text` and read its YAML. Raises SetupError with `source`, line and mend."""
    whole = _decoded(text, source)
    fence = re.match(r"---[ \t]*\n", whole)
    if fence is None:
        raise SetupError(f"{source}:1: no front matter: begin the file with a line `---`")
    end = re.compile(r"^---[ \t]*(?:\n|\Z)", re.MULTILINE).search(whole, fence.end())
    if end is None:
        raise SetupError(f"{source}:1: the front matter has no end: close it with a line `---`")
    root = _compose(whole[fence.end() : end.start()], source)
    reader = _Reader(source)
    values = {} if root is None else reader.value(root, ())
    if not isinstance(values, dict):
        raise SetupError(f"{source}:2: the front matter must be `key: value` lines")
    return FrontMatter(values, {(): 1, **reader.lines}, whole[end.end() :].strip())


def _decoded(text: str | bytes, source: str) -> str:
    if len(text) > MOST_BYTES:
        raise SetupError(f"{source}:1: larger than {MOST_BYTES // 1024} KiB: shorten the prose")
    try:
        whole = text.decode() if isinstance(text, bytes) else text
        whole.encode()
    except UnicodeError:
        raise SetupError(f"{source}:1: not UTF-8 text: save it as UTF-8") from None
    return whole.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


class _PlainLoader(yaml.SafeLoader):
    """Composes nodes of plain data only, of bounded depth, with YAML 1.2's scalars."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own way to say it
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401 - as PyYAML has it
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _refused("anchors and aliases are not read here: write the value out", event)
        if getattr(event, "tag", None):
            raise _refused("tags are not read here: write the value without one", event)
        if self.depth == MOST_DEPTH:
            raise _refused(f"nested more than {MOST_DEPTH} deep: flatten it", event)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


_NUMBER = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?\Z"

for _tag, _pattern, _first in (
    ("null", r"(?:~|null|)\Z", ["~", "n", ""]),
    ("bool", r"(?:true|false)\Z", ["t", "f"]),
    ("int", r"[-+]?[0-9]{1,18}\Z", list("-+0123456789")),
    ("float", _NUMBER, list("-+.0123456789")),
):
    _PlainLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


class _RefusedError(yaml.MarkedYAMLError):
    """YAML that could be read and is not."""


def _refused(problem: str, event: yaml.Event) -> _RefusedError:
    mark: Any = event.start_mark
    return _RefusedError(problem=problem, problem_mark=mark)


def _compose(text: str, source: str) -> yaml.Node | None:
    """Return the root node of the YAML `text`, whose first line is line 2 of `source`."""
    try:
        return yaml.compose(text, Loader=_PlainLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line if mark else 0
        what = " ".join((error.problem or error.context or "unreadable").split())
        what += "" if isinstance(error, _RefusedError) else ": check indents, brackets and quotes"
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position)
        what = f"the character U+{error.character:04X} may not stand here: delete it"
    except (ValueError, OverflowError):
        # PyYAML 6.0.3 lets chr() and int() raise for "\UFFFFFFFF" and oversized %YAML versions
        line, what = 0, "an escape or a version number is out of range: correct it"
    raise SetupError(f"{source}:{2 + line}: YAML: {what}")


class _Reader:
    """Turns nodes into values and notes their lines."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.lines: dict[SourcePosition, int] = {}

    def value(self, node: yaml.Node, where: SourcePosition) -> Value:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, where)
        if isinstance(node, yaml.SequenceNode):
            return self._sequence(node, where)
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, where: SourcePosition) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._bad(key_node, "a key must be a word")
            place = (*where, self._text(key_node))
            if place in self.lines:
                first = self.lines[place]
                raise self._bad(key_node, f"{place[-1]!a} stands on line {first} already: keep one")
            self.lines[place] = _line(key_node)
            value = self.value(value_node, place)
            if value is not None:
                values[str(place[-1])] = value
        return values

    def _sequence(self, node: yaml.SequenceNode, where: SourcePosition) -> list[Value]:
        values = []
        for position, item in enumerate(node.value):
            self.lines[*where, position] = _line(item)
            values.append(self.value(item, (*where, position)))
        return values

    def _scalar(self, node: yaml.Node) -> Value:
        match node.tag.rpartition(":")[2]:
            case "null":
                return None
            case "bool":
                return bool(node.value == "true")
            case "int":
                return int(node.value)
            case "float":
                return float(node.value)
            case _:
                return self._text(node)

    def _text(self, node: yaml.Node) -> str:
        text = str(node.value)
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise self._bad(node, "half a surrogate pair is not text: write the character itself")
        return text

    def _bad(self, node: yaml.Node, what: str) -> SetupError:
        return SetupError(f"{self.source}:{_line(node)}: {what}")


def _line(node: yaml.Node) -> int:
    return 2 + int(node.start_mark.line)
