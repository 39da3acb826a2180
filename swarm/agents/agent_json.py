"""JSON that agents write: a value whose texts can be recorded, committed and sent."""

from __future__ import annotations

import json
import re
from typing import Any

_HALF = re.compile("[\ud800-\udfff]")
r"""Half of a surrogate pair: what is left of a character that was cut after `\ud83d`."""


def read_json(text: str | bytes, *, strict: bool = True) -> Any:  # noqa: ANN401 - what json.loads returns
    """Return the value of `text`, with a replacement character for halves of characters.

    Unless `strict`, texts may hold line ends as they are. Raises ValueError for anything but JSON,
    and for what is nested too deep.
    """
    try:
        return _whole(json.loads(text, strict=strict))
    except RecursionError:
        raise ValueError("nested too deep") from None


def whole_text(text: str) -> str:
    """Return `text` with a replacement character for halves of characters."""
    return _HALF.sub("\N{REPLACEMENT CHARACTER}", text)


def _whole(value: object) -> object:
    match value:
        case str():
            return whole_text(value)
        case dict():
            return {_whole(key): _whole(item) for key, item in value.items()}
        case list():
            return [_whole(item) for item in value]
    return value
