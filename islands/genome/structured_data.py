"""JSON, YAML and TOML, parsed to compare two versions of a file; numbers are compared as text.

Not covered: YAML files above MAX_YAML_BYTES, which take the parser seconds: they count as text.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Hashable
from pathlib import PurePosixPath

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    NodeEvent,
    ScalarEvent,
)

MAX_YAML_BYTES = 64 * 1024


class NotParsedError(Exception):
    """Text that is not of the language of its file; the message is one line.

    `language`: its name.
    """

    def __init__(self, language: str, reason: str) -> None:
        super().__init__(reason)
        self.language = language


def parser_of(path: str) -> Callable[[bytes], Hashable] | None:
    """Return what parses the file at `path` to a comparable value, None for other languages.

    It raises NotParsedError.
    """
    return _PARSERS.get(PurePosixPath(path).suffix.lower())


def _json(data: bytes) -> Hashable:
    try:
        value = json.loads(data.decode("utf-8-sig"), parse_int=str, parse_float=str)
        return json.dumps(value, sort_keys=False)
    except RecursionError:
        raise NotParsedError("JSON", "nested too deeply") from None
    except ValueError as error:
        raise NotParsedError("JSON", str(error)) from None


def _toml(data: bytes) -> Hashable:
    try:
        return repr(tomllib.loads(data.decode("utf-8-sig"), parse_float=str))
    except RecursionError:
        raise NotParsedError("TOML", "nested too deeply") from None
    except ValueError as error:
        raise NotParsedError("TOML", str(error)) from None


def _yaml(data: bytes) -> Hashable:
    if len(data) > MAX_YAML_BYTES:
        return data
    try:
        return tuple(_event(event) for event in YAML(typ="safe", pure=True).parse(data))
    except RecursionError:
        raise NotParsedError("YAML", "nested too deeply") from None
    except (YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise NotParsedError("YAML", f"{where}{' '.join(problem.split())}") from None


def _event(event: object) -> Hashable:
    """Return what an event of the parser says but for layout and comments."""
    anchor = event.anchor if isinstance(event, NodeEvent) else None
    tag = str(event.tag) if isinstance(event, ScalarEvent | CollectionStartEvent) else ""
    value: Hashable = ""
    if isinstance(event, ScalarEvent):
        value = (event.value, event.style in ("", None))  # a quoted 1 is no number
    elif isinstance(event, AliasEvent):
        value = "*"
    return (type(event).__name__, anchor, tag, value)


_PARSERS: dict[str, Callable[[bytes], Hashable]] = {
    ".json": _json,
    ".toml": _toml,
    ".yaml": _yaml,
    ".yml": _yaml,
}
