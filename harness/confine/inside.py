"""The first steps inside a box: put on every limit, then become the program.

Run by path (`python -I -S -B inside.py FD`) before anything hostile, so it imports the standard
library and nothing of ours. FD is one end of a stream socket whose other end is the supervisor's:

    we say      READY, with descriptors of the directories that the supervisor watches
    it says     a Spec in JSON, and closes its half: an early end means that it is dead
    we say      GO right before exec, and one line after it if exec is refused
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

READY = b"ready"
GO = b"go"
WATCHED = ("/proc", "/tmp", "/dev/shm", "/home/box")  # noqa: S108  # the box's own


@dataclass(frozen=True, slots=True)
class Spec:
    """What the supervisor tells the first process of a box. Survives a trip through JSON.

    `limits` maps names of the `resource` module to soft and hard limit; `fds` stay open; `cores`
    (empty: not pinned) is the CPU affinity, `uid` what root becomes.
    """

    argv: list[str]
    env: dict[str, str]
    cwd: str
    fds: list[int] = field(default_factory=list)
    cores: list[int] = field(default_factory=list)
    limits: dict[str, int] = field(default_factory=dict)
    uid: int | None = None


def main() -> None:
    """Take the spec from the supervisor and become its program."""
    control = socket.socket(fileno=int(sys.argv[1]))
    greet(control)
    spec = receive(control)
    restrict(spec)
    close_all_but({0, 1, 2, control.fileno(), *spec.fds})
    for number in spec.fds:
        os.set_inheritable(number, True)
    control.set_inheritable(False)
    control.sendall(GO)
    try:
        os.execve(spec.argv[0], spec.argv, spec.env)  # noqa: S606  # no shell is wanted
    except OSError as error:
        control.sendall(f"{spec.argv[0]}: {error.strerror}".encode())
    os._exit(127)


def greet(control: socket.socket) -> None:
    """Say READY; where this is a sandbox, hand over the directories that are watched."""
    sandboxed = Path(WATCHED[-1]).is_dir()
    found = [os.open(path, os.O_RDONLY) for path in WATCHED] if sandboxed else []
    socket.send_fds(control, [READY], found)
    for number in found:
        os.close(number)


def receive(control: socket.socket) -> Spec:
    """Return the supervisor's spec, or end: without a supervisor nothing may run."""
    parts = []
    while part := control.recv(65536):
        parts.append(part)
    try:
        return Spec(**json.loads(b"".join(parts)))
    except ValueError:
        sys.exit("no spec")


def restrict(spec: Spec) -> None:
    """Put on the limits, for good: nothing later in the box can take them off."""
    if spec.cores:
        os.sched_setaffinity(0, spec.cores)
    set_limits(spec.limits)
    os.chdir(spec.cwd)
    if spec.uid is not None:
        become(spec.uid)


def set_limits(limits: Mapping[str, int]) -> None:
    """Set soft and hard limit to the lesser of what is asked for and what is allowed."""
    for name, wanted in limits.items():
        number = getattr(resource, name)
        hard = resource.getrlimit(number)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(number, (value, value))


def become(uid: int) -> None:
    """Become an unprivileged user for good: every id, and no capability left to go back."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def close_all_but(keep: set[int]) -> None:
    """Close every descriptor that is not in `keep`."""
    low = 0
    for number in sorted(keep):
        if low < number:  # an empty range would be taken for an endless one
            os.closerange(low, number)
        low = number + 1
    os.closerange(low, resource.getrlimit(resource.RLIMIT_NOFILE)[1])


if __name__ == "__main__":
    main()
