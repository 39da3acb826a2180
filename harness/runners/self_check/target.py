"""The target of the self-check, and what its attacks have in common."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20

libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Target:
    """What to attack.

    token: marks what belongs to this self-check
    paths: files of the host
    pid: a process of the host with `token` in its environment
    variables: the names of variables that a sandbox is given
    servers: family, kind, address and port (0: none) of sockets of the host
    calls: numbers of system calls, by name
    lease: the slice's cores
    cores: all cores of the machine
    key: key of shared memory
    large_mib: a size beyond the limit on files
    forks: a number beyond the limit on processes
    """

    token: str
    paths: list[str]
    pid: int
    variables: list[str]
    servers: list[tuple[int, int, str, int]]
    calls: dict[str, int]
    lease: list[int]
    cores: list[int]
    key: int
    large_mib: int
    forks: int

    def call(self, name: str, *args: int | bytes | ctypes.Array[ctypes.c_char]) -> int:
        """Make a system call. Raises OSError where it is refused."""
        longs = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
        answer = libc.syscall(self.calls[name], *longs)
        if answer < 0:
            raise OSError(ctypes.get_errno(), name)
        return int(answer)


Attack = Callable[[Target], str]


def opens(path: str, flags: int) -> bool:
    """Return whether a file can be opened."""
    with suppress(OSError):
        os.close(os.open(path, flags, 0o600))
        return True
    return False


def is_open(number: int) -> bool:
    """Return whether a descriptor is open."""
    with suppress(OSError):
        os.fstat(number)
        return True
    return False


def done(attempt: Callable[[], object]) -> bool:
    """Return whether an attempt succeeds."""
    with suppress(OSError, AttributeError):  # not all systems have all calls
        attempt()
        return True
    return False


def text_of(path: str) -> str:
    """Return what a file says, "" where it cannot be read."""
    with suppress(OSError):
        return Path(path).read_text()
    return ""


def stay() -> None:
    """Live on as a daemon, for a minute."""
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)
    os._exit(0)
