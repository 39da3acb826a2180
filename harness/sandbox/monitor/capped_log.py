"""A log of bounded size: the beginning and the end of what was written.

Secret values are redacted before anything is cut. Where bytes were left out, a line says how many,
and the lines before and after it are pieces of lines: `whole_lines` leaves these out, for whatever
reads numbers.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Self

from harness.sandbox.monitor.redaction import Redaction

HEAD_BYTES = 256 << 10
TAIL_BYTES = 768 << 10

_MARK = re.compile(rb"\n\[\d{1,19} bytes left out\]\n")
_LINE_ENDS = (b"\n", b"\r")


@dataclass(slots=True)
class CappedLog:
    """Keeps HEAD bytes in the file at once, and TAIL bytes of the rest until it is closed."""

    file: BinaryIO
    _head: int = HEAD_BYTES
    _tail: deque[bytes] = field(default_factory=deque)
    _kept: int = 0
    _dropped: int = 0
    _last_dropped: bytes = b""
    _redaction: Redaction = field(default_factory=lambda: Redaction(()))

    @classmethod
    def at(cls, path: Path, secrets: tuple[str, ...] = ()) -> Self:
        """Return a new, empty log at `path`, which never holds one of `secrets`."""
        return cls(path.open("wb", buffering=0), _redaction=Redaction(secrets))

    def write(self, data: bytes) -> None:
        """Append `data`; an end that may be the beginning of a secret waits for what follows."""
        self._append(self._redaction.feed(data))

    def _append(self, data: bytes) -> None:
        if self._head:
            self.file.write(data[: self._head])
            data, self._head = data[self._head :], max(0, self._head - len(data))
        if data:
            self._tail.append(data)
            self._kept += len(data)
        while self._kept - len(self._tail[0] if self._tail else b"") >= TAIL_BYTES:
            dropped = self._tail.popleft()
            self._kept -= len(dropped)
            self._dropped += len(dropped)
            self._last_dropped = dropped[-1:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write the tail, after a line that states how many bytes were left out."""
        self._append(self._redaction.rest())
        if self._dropped:
            self.file.write(f"\n[{self._dropped} bytes left out]\n".encode())
            if self._last_dropped in _LINE_ENDS:  # an empty piece: the tail's first line is whole
                self.file.write(b"\n")
        for part in self._tail:
            self.file.write(part)
        self.file.close()


def whole_lines(log: bytes) -> bytes:
    """Return `log` without the pieces of lines beside each mark of left out bytes, and the mark.

    A piece can say what was never printed: of `train_loss: 0.5` the end is `loss: 0.5`.
    """
    first, *others = _MARK.split(log)
    if not others:
        return log
    *middle, last = others
    between = (_without_last(_without_first(part)) for part in middle)
    return b"\n".join((_without_last(first), *between, _without_first(last)))


def _without_first(part: bytes) -> bytes:
    found = [at for end in _LINE_ENDS if (at := part.find(end)) >= 0]
    return part[min(found) + 1 :] if found else b""


def _without_last(part: bytes) -> bytes:
    return part[: max(part.rfind(end) for end in _LINE_ENDS) + 1]
