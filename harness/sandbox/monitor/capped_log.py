"""A log of bounded size: the beginning and the end of what was written."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

HEAD_BYTES = 256 << 10
TAIL_BYTES = 768 << 10


@dataclass(slots=True)
class CappedLog:
    """Keeps HEAD bytes in the file at once, and TAIL bytes of the rest until it is closed."""

    file: BinaryIO
    _head: int = HEAD_BYTES
    _tail: deque[bytes] = field(default_factory=deque)
    _kept: int = 0
    _dropped: int = 0

    @classmethod
    def at(cls, path: Path) -> CappedLog:
        """Return a new, empty log at `path`."""
        return cls(path.open("wb", buffering=0))

    def write(self, data: bytes) -> None:
        """Append `data`."""
        if self._head:
            self.file.write(data[: self._head])
            data, self._head = data[self._head :], max(0, self._head - len(data))
        if data:
            self._tail.append(data)
            self._kept += len(data)
        while self._kept - len(self._tail[0] if self._tail else b"") >= TAIL_BYTES:
            dropped = len(self._tail.popleft())
            self._kept -= dropped
            self._dropped += dropped

    def __enter__(self) -> CappedLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write the tail, after a line that states how many bytes were left out."""
        if self._dropped:
            self.file.write(f"\n[{self._dropped} bytes left out]\n".encode())
        for part in self._tail:
            self.file.write(part)
        self.file.close()
