"""Front matter: YAML between `---` lines, with the line number of every key, and the prose below.

The YAML is plain data by YAML 1.2: mappings, lists, text, numbers, true, false, null (`no`, `1:30`
and dates are text). Anchors, aliases, tags and duplicate keys are refused: in a small file they
hide more than they save. A key without a value counts as missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import RoundTripConstructor
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    Event,
    NodeEvent,
    ScalarEvent,
)
from ruamel.yaml.nodes import MappingNode, Node
from ruamel.yaml.reader import ReaderError

from harness.contract import SetupError

MAX_BYTES = 256 * 1024
"""Size limit of the whole file: its prose goes into every brief."""

MAX_DEPTH = 8
"""Limit of nesting of YAML values; also bounds the recursion that reads them."""

FIRST_LINE = 2
"""The line of the file that the YAML begins on, below the first `---`."""

Value = str | int | float | bool | None | list["Value"] | dict[str, "Value"]

SourcePosition = tuple[str | int, ...]
"""A place in the front matter: the keys and list positions that lead to it."""


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """A file's front matter, parsed, and the prose below it."""

    values: dict[str, Value]
    """The YAML between the `---` lines, as plain data."""
    lines: Mapping[SourcePosition, int]
    """The line of the file, from 1, on which each place stands."""
    prose: str
    """The text below the second `---`, without blank lines around it."""

    def line(self, place: SourcePosition) -> int:
        """Return the line of `place`, or of the nearest place around it that was written."""
        while place not in self.lines:
            place = place[:-1]
        return self.lines[place]


def read_front_matter(text: str | bytes, source: str) -> FrontMatter:
    """Split `text` and read its YAML. Raises SetupError with `source`, the line and the fix."""
    whole = _decoded(text, source)
    fence = re.match(r"---[ \t]*\n", whole)
    if fence is None:
        raise SetupError(f"{source}:1: no front matter: begin the file with a line `---`")
    end = re.compile(r"^---[ \t]*(?:\n|\Z)", re.MULTILINE).search(whole, fence.end())
    if end is None:
        raise SetupError(f"{source}:1: the front matter has no end: close it with a line `---`")
    values, lines = _load(whole[fence.end() : end.start()], source)
    return FrontMatter(values, lines, whole[end.end() :].strip())


def _decoded(text: str | bytes, source: str) -> str:
    if len(text) > MAX_BYTES:
        raise SetupError(f"{source}:1: larger than {MAX_BYTES // 1024} KiB: shorten the prose")
    try:
        whole = text.decode() if isinstance(text, bytes) else text
        whole.encode()
    except UnicodeError:
        raise SetupError(f"{source}:1: not UTF-8 text: save it as UTF-8") from None
    return whole.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


class _RefusedError(MarkedYAMLError):
    """Valid YAML that is not accepted here."""


class _PlainConstructor(RoundTripConstructor):
    """Builds plain data: keys are words and unique, a timestamp stays text."""

    def check_mapping_key(
        self,
        node: MappingNode,  # noqa: ARG002  # the base class passes it
        key_node: Node,
        mapping: CommentedMap,
        key: object,
        value: object,  # noqa: ARG002  # the base class passes it
    ) -> bool:
        """Return True for a new key; raise for a repeated one and for one that is not text."""
        if not isinstance(key, str):
            raise _refused("a key must be a word", key_node)
        if key in mapping:
            first = FIRST_LINE + mapping.lc.key(key)[0]
            raise _refused(f"{str(key)!a} stands on line {first} already: keep one", key_node)
        return True


_PlainConstructor.add_constructor(
    "tag:yaml.org,2002:timestamp", RoundTripConstructor.construct_yaml_str
)


def _refused(problem: str, node: Event | Node) -> _RefusedError:
    return _RefusedError(problem=problem, problem_mark=node.start_mark)


def _load(text: str, source: str) -> tuple[dict[str, Value], dict[SourcePosition, int]]:
    """Return the values of the YAML `text`, and the line of `source` that each place is on."""
    yaml = YAML(pure=True)
    yaml.Constructor = _PlainConstructor
    try:
        _check_events(yaml.parse(text))
        root = yaml.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line if mark else 0
        reason = " ".join((error.problem or error.context or "unreadable").split())
        if not isinstance(error, _RefusedError):
            reason = f"YAML: {reason}: check indents, brackets and quotes"
    except ReaderError as error:
        line = text.count("\n", 0, error.position)
        reason = f"YAML: the character U+{error.character:04X} is not allowed: delete it"
    except (ValueError, OverflowError, IndexError):
        # ruamel.yaml 0.19.1 lets chr() raise for "\UFFFFFFFF", and reads "-_" as a number
        line, reason = 0, "YAML: an escape or a number is out of range: correct it"
    else:
        lines: dict[SourcePosition, int] = {(): 1}
        values = {} if root is None else _plain(root, (), lines, source)
        if not isinstance(values, dict):
            raise SetupError(f"{source}:2: the front matter must be `key: value` lines")
        return values, lines
    raise SetupError(f"{source}:{FIRST_LINE + line}: {reason}")


def _check_events(events: Iterable[Event]) -> None:
    """Raise for what is not plain data, and for depth, before anything is built."""
    depth = 0
    for event in events:
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
            raise _refused("YAML: anchors and aliases are not read: write the value out", event)
        if isinstance(event, NodeEvent) and getattr(event, "tag", None):
            raise _refused("YAML: tags are not read: write the value without one", event)
        if isinstance(event, ScalarEvent) and event.value == "<<":
            raise _refused("YAML: merge keys are not read: write the values out", event)
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise _refused(f"YAML: nested more than {MAX_DEPTH} deep: flatten it", event)


def _plain(
    value: object, place: SourcePosition, lines: dict[SourcePosition, int], source: str
) -> Value:
    """Return what ruamel.yaml loaded as plain data; add the line of each place to `lines`."""
    if isinstance(value, CommentedMap):
        mapping = {}
        for key, item in value.items():
            _check_text(key, value.lc.key(key)[0], source)
            lines[*place, key] = FIRST_LINE + value.lc.key(key)[0]
            mapping[str(key)] = _plain(item, (*place, key), lines, source)
        return {key: item for key, item in mapping.items() if item is not None}
    if isinstance(value, CommentedSeq):
        for index in range(len(value)):
            lines[*place, index] = FIRST_LINE + value.lc.item(index)[0]
        return [_plain(item, (*place, n), lines, source) for n, item in enumerate(value)]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    text = str(value)
    _check_text(text, lines[place] - FIRST_LINE if place else 0, source)
    return text


def _check_text(text: str, line: int, source: str) -> None:
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise SetupError(
            f"{source}:{FIRST_LINE + line}: half a surrogate pair is not text: write the character"
        )
