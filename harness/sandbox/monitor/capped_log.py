"""A log of bounded size: the first part of what came, and the last."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

HEAD = 256 << 10
TAIL = 768 << 10


@dataclass(slots=True)
class CappedLog:
    """Keeps HEAD bytes in the file at once, and TAIL bytes of the rest until it is closed."""

    file: BinaryIO
    _head: int = HEAD
    _tail: deque[bytes] = field(default_factory=deque)
    _held: int = 0
    _lost: int = 0

    @classmethod
    def at(cls, path: Path) -> CappedLog:
        """Return a new, empty log at `path`."""
        return cls(path.open("wb", buffering=0))

    def write(self, data: bytes) -> None:
        """Take in `data`."""
        if self._head:
            self.file.write(data[: self._head])
            data, self._head = data[self._head :], max(0, self._head - len(data))
        if data:
            self._tail.append(data)
            self._held += len(data)
        while self._held - len(self._tail[0] if self._tail else b"") >= TAIL:
            lost = len(self._tail.popleft())
            self._held -= lost
            self._lost += lost

    def __enter__(self) -> CappedLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write the tail, after a line that says how much is missing before it."""
        if self._lost:
            self.file.write(f"\n[{self._lost} bytes left out]\n".encode())
        for part in self._tail:
            self.file.write(part)
        self.file.close()
