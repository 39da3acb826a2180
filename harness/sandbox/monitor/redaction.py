"""The redaction of a sandbox's output: its secret values become *** before a byte is kept.

A stream is redacted as it is read from the pipe, before it is cut to a log, so neither a file nor
what is parsed from one (a score's line, a claim's name, an agent's last words) ever holds a value,
nor a half of one at the cut.

Not covered:

- values of fewer than MIN_CHARS characters: a `1` or a `dev` stands in numbers and names by chance
- a value that is printed in a form other than those of `_forms`: in base64, backwards, broken by a
  terminal's codes or over two lines
- parts of a value, such as `sk-...6789`
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

MIN_CHARS = 8
"""Characters of a value from which it is replaced; keys that are in use have 16 and more."""

SHOWN = "***"


@dataclass(slots=True)
class Redaction:
    """Replaces values in a stream of bytes, wherever its pieces begin and end."""

    values: tuple[str, ...]
    _pattern: re.Pattern[bytes] | None = field(init=False, default=None)
    _longest: int = field(init=False, default=0)
    _held: bytes = field(init=False, default=b"")

    def __post_init__(self) -> None:
        forms = sorted({os.fsencode(form) for form in _forms(self.values)}, key=len, reverse=True)
        if forms:
            self._pattern = re.compile(b"|".join(map(re.escape, forms)))
            self._longest = len(forms[0])

    def feed(self, data: bytes) -> bytes:
        """Return the stream's next bytes, redacted, less an end that may be part of a value."""
        if self._pattern is None:
            return data
        data = self._held + data
        # what begins before here is whole, so the longest value that it may be is found
        sure, at, parts = len(data) - self._longest + 1, 0, list[bytes]()
        for match in self._pattern.finditer(data):
            if match.start() >= sure:
                break
            parts += (data[at : match.start()], SHOWN.encode())
            at = match.end()
        kept = max(at, sure)
        parts.append(data[at:kept])
        self._held = data[kept:]
        return b"".join(parts)

    def rest(self) -> bytes:
        """Return the end of the stream, redacted."""
        rest, self._held = self._held, b""
        return self._pattern.sub(SHOWN.encode(), rest) if self._pattern else rest


def redacted(text: str, values: Iterable[str]) -> str:
    """Return `text` without the values: for what is made of more than a log, such as file names."""
    for form in sorted({*_forms(values)}, key=len, reverse=True):
        text = text.replace(form, SHOWN)
    return text


def _forms(values: Iterable[str]) -> Iterator[str]:
    """Yield each value as programs print it: stripped, one of its lines, in JSON, in a URL."""
    for value in values:
        for part in (value.strip(), *map(str.strip, value.splitlines())):
            if len(part) >= MIN_CHARS:
                yield from (part, json.dumps(part)[1:-1], quote(part, safe=""))
