"""The first process of a box: takes its spec, puts on every limit, becomes the program.

Its one argument is the descriptor of a stream socket whose other end is the supervisor's:

    we say      READY
    it says     a Spec, marshalled, and closes its half: an early end means that it is dead
    we say      GO right before exec, with the descriptors that are asked for and one of ourselves
                (or of the warden, where there is one), and a line after it if exec is refused
"""

from __future__ import annotations

import marshal
import os
import struct
import sys
from _socket import SCM_RIGHTS, SOL_SOCKET, socket  # without the layer that takes 10 ms to import

from .limits import close_all_but, restrict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .limits import GuestSpec

READY = b"ready"
GO = b"go"
GIVEN = b"."  # comes to a zygote's copy before its spec, with descriptors
# what a zygote's copy is to do: enter a box, one with its own user namespace, or begin a box
ENTER, ENTER_OWN, BEGIN = b"+", b"*", b"1"
GROUP = 4  # bytes that name a process group


def main() -> None:
    """Take the spec from the supervisor and become its program."""
    control = socket(fileno=int(sys.argv[1]))
    spec = receive(control)
    go(control, shut_in(spec, control))
    close_all_but({0, 1, 2, control.fileno(), *spec["fds"]})
    for number in spec["fds"]:
        os.set_inheritable(number, True)
    os.set_inheritable(control.fileno(), False)
    program = spec["argv"][0]
    try:
        os.execve(program, spec["argv"], spec["env"])  # noqa: S606  # no shell is wanted
    except OSError as error:
        control.sendall(f"{program}: {error.strerror}\n".encode())
    os._exit(127)


def receive(control: socket) -> GuestSpec:
    """Return what the supervisor says, or end: without a supervisor nothing may run."""
    control.sendall(READY)
    return read(control)


def read(control: socket) -> GuestSpec:
    """Return the spec that the supervisor hands over, or end."""
    parts = []
    while part := control.recv(65536):
        parts.append(part)
    if not parts:
        os._exit(126)
    spec: GuestSpec = marshal.loads(b"".join(parts))  # noqa: S302  # from those who may do anything
    return spec


def shut_in(spec: GuestSpec, control: socket) -> list[int]:
    """Put on every limit; return the descriptors that the supervisor asks for."""
    if spec["supervisor"]:
        from . import supervisor  # noqa: PLC0415  # most boxes need none

        return [supervisor.shut_in(spec, spec["supervisor"], control)]
    asked = handles(spec)
    restrict(spec)
    return asked


def go(control: socket, asked: list[int]) -> None:
    """Say that the program starts now, and pass on what was asked for."""
    say(control, GO, asked)


def say(control: socket, word: bytes, passed: list[int]) -> None:
    """Say a word, and pass on descriptors with it."""
    rights = [(SOL_SOCKET, SCM_RIGHTS, struct.pack(f"{len(passed)}i", *passed))] if passed else []
    control.sendmsg([word], rights)


def handles(spec: GuestSpec) -> list[int]:
    """Open what the supervisor asks for, and this process; without walls it asks for nothing."""
    if not spec["watched"]:
        return []
    return [os.pidfd_open(os.getpid()), *(os.open(path, os.O_RDONLY) for path in spec["watched"])]
