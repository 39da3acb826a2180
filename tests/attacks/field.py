"""What attack programs are shown, and the few things that many of them do.

Imported inside boxes (by programs) and outside (by the suite), so it imports the standard library
alone.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Field:
    """The host as an attacker who knows everything about it sees it.

    `folder` is the host's: a repository, a home, packages, a file with the secret. `neighbour` is
    a process that holds the secret in its memory, its environment and a file that it has open;
    `victim` is one to be ended, `parent` the harness. The secret itself is not told, so an attack
    that prints it has read it; those that steal nothing print `got ...`. `tag` is a name for what
    is left behind. `servers` are family, kind, address and port of sockets by name. `until` is the
    monotonic time at which a survivor should end itself. `calls` are system calls by name.
    """

    tag: str
    folder: str
    neighbour: int
    victim: int
    parent: int
    servers: dict[str, tuple[int, int, str, int]]
    key: int
    lease: list[int]
    cores: list[int]
    until: float
    calls: dict[str, int]

    def call(self, name, *args):
        """Make a system call. Raises OSError where it is refused."""
        longs = [ctypes.c_long(each) if isinstance(each, int) else each for each in args]
        answer = libc.syscall(self.calls[name], *longs)
        if answer < 0:
            raise OSError(ctypes.get_errno(), name)
        return answer

    def processes(self) -> Iterator[Path]:
        """Yield what /proc shows of others, the interesting ones first."""
        first = [Path("/proc", str(pid)) for pid in (self.neighbour, self.parent, 1)]
        others = [each for each in Path("/proc").iterdir() if each.name.isdigit()]
        yield from (each for each in [*first, *others] if each.name != str(os.getpid()))


@contextmanager
def trying() -> Iterator[None]:
    """Go on after what was refused: an attacker has other ways to try."""
    with suppress(OSError, ValueError):
        yield


def show(path) -> None:
    """Print a file, where it can be read."""
    with trying():
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            print(os.read(number, 1 << 16).decode(errors="replace"), flush=True)
        finally:
            os.close(number)


def deface(path) -> None:
    """Write to a file, where it can be written."""
    with trying(), Path(path).open("a") as file:
        file.write("defaced")
