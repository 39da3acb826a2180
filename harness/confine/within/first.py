"""The first process of a box: takes its spec, puts on every limit, becomes the program.

Its one argument is the descriptor of a stream socket whose other end is the supervisor's:

    we say      READY
    it says     a Spec in JSON, and closes its half: an early end means that it is dead
    we say      GO right before exec, with the descriptors that are asked for and one of ourselves,
                and a line after it if exec is refused
"""

from __future__ import annotations

import json
import os
import socket
import sys

from .restrict import Spec, close_all_but, restrict

READY = b"ready"
GO = b"go"


def main() -> None:
    """Take the spec from the supervisor and become its program."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.sendall(READY)
    spec = Spec(**json.loads(read_all(control)))
    asked = handles(spec)
    restrict(spec)
    socket.send_fds(control, [GO], asked)
    close_all_but({0, 1, 2, control.fileno(), *spec.fds})
    for number in spec.fds:
        os.set_inheritable(number, True)
    control.set_inheritable(False)
    try:
        os.execve(spec.argv[0], spec.argv, spec.env)  # noqa: S606  # no shell is wanted
    except OSError as error:
        control.sendall(f"{spec.argv[0]}: {error.strerror}".encode())
    os._exit(127)


def read_all(control: socket.socket) -> bytes:
    """Return what the supervisor says, or end: without a supervisor nothing may run."""
    parts = []
    while part := control.recv(65536):
        parts.append(part)
    if not parts:
        os._exit(126)
    return b"".join(parts)


def handles(spec: Spec) -> list[int]:
    """Open what the supervisor asks for, and this process; at tier 0 it asks for nothing."""
    if not spec.watched:
        return []
    return [os.pidfd_open(os.getpid()), *(os.open(path, os.O_RDONLY) for path in spec.watched)]
