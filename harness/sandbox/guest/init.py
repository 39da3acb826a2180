"""The first process of a sandbox: takes its spec, applies every limit, becomes the program.

Its one argument is the descriptor of a stream socket whose other end the harness holds:

    we send     READY
    it sends    a GuestSpec, marshalled, and closes its half: an early end means that it is dead
    we send     GO right before exec, with the descriptors that the spec asks for and a pidfd of
                ourselves (or of the supervisor, where there is one), and a line if exec fails
"""

from __future__ import annotations

import marshal
import os
import struct
import sys
from _socket import SCM_RIGHTS, SOL_SOCKET, socket  # `socket` itself takes 10 ms to import

from .limits import close_all_but, restrict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from .limits import GuestSpec

READY = b"ready"
GO = b"go"
GIVEN = b"."  # sent to a zygote's copy before its spec, with descriptors
# requests to a zygote: enter a sandbox, enter one with its own user namespace, make a Landlock one
ENTER, ENTER_OWN, BEGIN = b"+", b"*", b"1"
GROUP_BYTES = 4  # of a process group in a request
LENGTH_BYTES = 4  # of the number of bytes of bubblewrap's options


def main() -> None:
    """Take the spec from the harness and become its program."""
    control = socket(fileno=int(sys.argv[1]))
    spec = receive(control)
    announce_start(control, confine_self(spec, control))
    execute(spec, control)


def execute(spec: GuestSpec, control: socket) -> NoReturn:
    """Become the program, with the descriptors that it keeps; report a failure on `control`."""
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
    """Return the spec, or exit: without the harness nothing may run."""
    control.sendall(READY)
    return read(control)


def read(control: socket) -> GuestSpec:
    """Return the spec that the harness sends, or exit."""
    parts = []
    while part := control.recv(65536):
        parts.append(part)
    if not parts:
        os._exit(126)
    spec: GuestSpec = marshal.loads(b"".join(parts))  # noqa: S302  # the sender is trusted
    return spec


def confine_self(spec: GuestSpec, control: socket) -> list[int]:
    """Apply every limit; return the descriptors that the spec asks for."""
    if spec["supervisor"]:
        from . import supervisor  # noqa: PLC0415  # most sandboxes need none

        return [supervisor.start_supervised(spec, spec["supervisor"], control)]
    opened = handles(spec)
    restrict(spec)
    return opened


def announce_start(control: socket, opened: list[int]) -> None:
    """Report that the program starts now, with the descriptors asked for."""
    send(control, GO, opened)


def send(control: socket, word: bytes, passed: list[int]) -> None:
    """Send a word, with descriptors."""
    rights = [(SOL_SOCKET, SCM_RIGHTS, struct.pack(f"{len(passed)}i", *passed))] if passed else []
    control.sendmsg([word], rights)


def handles(spec: GuestSpec) -> list[int]:
    """Open a pidfd of this process and the directories that the spec asks for, if any."""
    if not spec["watched"]:
        return []
    return [os.pidfd_open(os.getpid()), *(os.open(path, os.O_RDONLY) for path in spec["watched"])]
