"""The host as attack programs know it, and what many of them do to it.

Imported inside sandboxes (by programs) and outside (by the suite), so it imports only the standard
library.
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
class AttackTarget:
    """The host as an attacker with full knowledge sees it.

    The secret is not included, so an attack that prints it has read it; attacks that steal nothing
    print `got ...`.

    tag: a name for what is left behind
    folder: the host's files: a repository, a home, packages, a file with the secret
    neighbour: pid of a process with the secret in memory, environment and an open file
    victim: pid of a process to end
    parent: pid of the harness
    servers: family, kind, address and port of sockets, by name
    key: key of shared memory
    lease: the slice's cores
    cores: all cores of the machine
    until: monotonic time at which a survivor should end itself
    calls: numbers of system calls, by name
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
        """Yield the /proc folders of other processes, the interesting ones first."""
        first = [Path("/proc", str(pid)) for pid in (self.neighbour, self.parent, 1)]
        others = [each for each in Path("/proc").iterdir() if each.name.isdigit()]
        yield from (each for each in [*first, *others] if each.name != str(os.getpid()))


@contextmanager
def trying() -> Iterator[None]:
    """Continue after a refusal: an attacker tries other ways."""
    with suppress(OSError, ValueError):
        yield


def show(path) -> None:
    """Print a file if it is readable."""
    with trying():
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            print(os.read(number, 1 << 16).decode(errors="replace"), flush=True)
        finally:
            os.close(number)


def deface(path) -> None:
    """Write to a file if it is writable."""
    with trying(), Path(path).open("a") as file:
        file.write("defaced")
