"""A process that has imported what box programs import, and becomes them by forking.

Started as `zygote REQUESTS ROOT:ROOT MODULE,MODULE` by the supervisor, with no file of the host's
open but REQUESTS, a stream socket:

    we say      READY, once everything is imported
    it says     for each box ENTER (ENTER_OWN where the box has a user namespace of its own), the
                process group that bubblewrap makes it in, as 4 bytes, and with them a pipe on
                which bubblewrap tells of it, one on which the box's first program says that it
                runs, and a control socket; or BEGIN, no group, and the control socket alone

A copy waits until the box is made, enters its namespaces, forks once more (a process never changes
its own PID namespace) and goes on over its control socket. Where the supervisor is gone before
that, the copy ends what there is of the box: a process of bubblewrap that waits for one that was
killed would wait for good.

    we say      READY
    it says     GIVEN, with the descriptors of where output goes and of those that the program is
                to keep; and a Spec, as to `first`: an early end means that it is dead
    we say      GO, with handles as `first` does, once the spec's limits are in force, and become
                the program

The process in between stays outside and tells the supervisor how the program ended. Where there is
no box to enter, it is the warden. We read nothing of what is told to a copy, so no box can find a
trace of an earlier one; and while a copy waits, nobody's program is in its box.

Not covered: copies share one layout of memory and one seed of Python's hashes, and an environment
variable that a module reads when it is imported comes too late.
"""

from __future__ import annotations

import array
import fcntl
import gc
import importlib
import json
import os
import select
import signal
import sys
from _socket import CMSG_LEN, MSG_WAITALL, socket
from contextlib import suppress

from . import supervisor as _supervisor  # noqa: F401  # a copy could no longer read the file
from .init import (
    BEGIN,
    ENTER_OWN,
    GIVEN,
    GROUP_BYTES,
    READY,
    announce_start,
    confine_self,
    handles,
    read,
    send,
)
from .limits import close_all_but, die_with_parent, libc, must, restrict
from .run_script import start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from .limits import GuestSpec

CLONE_NEWUSER = 0x10000000
NAMESPACES = 0x6E020000  # CLONE_NEWNS, CGROUP, UTS, IPC, PID, NET
MAX_DESCRIPTORS = 64  # descriptors for one box


def main() -> None:
    """Import, then serve; what returns is a copy inside a box, which becomes the program."""
    _, number, roots, modules = sys.argv
    die_with_parent()
    close_all_but({0, 1, 2, int(number)})
    sys.path += roots.split(":")
    for name in modules.split(","):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what is never collected is never copied either
    start(roots, serve(socket(fileno=int(number))))


def serve(requests: socket) -> list[str]:
    """Fork at each request; return, in a copy that is inside its box, the program's words."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the processes in between
    requests.sendall(READY)
    while True:
        said, descriptors = received(requests, 1 + GROUP_BYTES)
        if not said:
            os._exit(0)
        passed = array.array("i", descriptors)
        if not os.fork():
            requests.detach()
            close_all_but({0, 1, 2, *passed})
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            how, group = said[:1], int.from_bytes(said[1:], sys.byteorder)
            return (
                start_supervised(*passed)
                if how == BEGIN
                else enter(group, *passed, own=how == ENTER_OWN)
            )
        for number in passed:
            os.close(number)


def enter(group: int, status: int, running: int, control: int, *, own: bool) -> list[str]:
    """Enter the box that is being made; return its program's words in there."""
    supervisor = socket(fileno=control)
    box = wait_made(status, running, supervisor, group)
    # a box has a user namespace of its own where we are not root
    must(libc.setns(box, NAMESPACES | CLONE_NEWUSER * own), "setns")
    inside = os.fork()
    if inside:
        close_all_but({control})
        report(supervisor, inside)
    os.setsid()  # or the process in between could be signalled through our group
    os.close(box)
    spec = take_spec(supervisor)
    asked = handles(spec)
    restrict(spec)
    return hand_over(spec, supervisor, asked)


def start_supervised(control: int) -> list[str]:
    """Make a box without namespaces; return its program's words in there."""
    supervisor = socket(fileno=control)
    spec = take_spec(supervisor)
    return hand_over(spec, supervisor, confine_self(spec, supervisor))


def wait_made(status: int, running: int, supervisor: socket, group: int) -> int:
    """Wait until a box is made; return a handle on its first process."""
    told = b""
    while b"\n" not in told:
        told += wait_byte(status, supervisor, group)
    box = os.pidfd_open(json.loads(told.partition(b"\n")[0])["child-pid"])
    wait_byte(running, supervisor, group)
    if select.select([status], [], [], 0)[0]:  # it has ended: another may have its number by now
        give_up(group)
    os.close(status)
    os.close(running)
    return box


def wait_byte(number: int, supervisor: socket, group: int) -> bytes:
    """Wait for a word and return it; give up where nobody is left to say it, or to hear us."""
    both = select.poll()
    for each in (number, supervisor.fileno()):
        both.register(each, select.POLLIN)
    ready = dict(both.poll())
    said = b"" if supervisor.fileno() in ready else os.read(number, 4096)
    return said or give_up(group)


def give_up(group: int) -> NoReturn:
    """End the group of the box, and ourselves."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    os._exit(126)


def take_spec(supervisor: socket) -> GuestSpec:
    """Say that we are there, and take on what we are told, or end."""
    send(supervisor, READY, [])
    output, *kept = receive_descriptors(supervisor, GIVEN)
    spec = read(supervisor)
    prepare(spec, output, kept)
    return spec


def receive_descriptors(control: socket, word: bytes) -> list[int]:
    """Return the descriptors that come with a word that is due, or end: nobody says it any more."""
    said = passed = b""
    with suppress(ConnectionResetError):
        said, passed = received(control, len(word))
    if said != word:
        os._exit(126)
    return list(array.array("i", passed))


def received(control: socket, count: int) -> tuple[bytes, bytes]:
    """Return the next `count` bytes, and the descriptors that come with them, as bytes too."""
    said, ancillary, _, _ = control.recvmsg(count, CMSG_LEN(4 * MAX_DESCRIPTORS), MSG_WAITALL)
    return said, b"".join(data for _, _, data in ancillary)


def prepare(spec: GuestSpec, output: int, kept: list[int]) -> None:
    """Take on the descriptors and the environment of a program."""
    place_descriptors(output, dict(zip(spec["fds"], kept, strict=True)))
    os.environ.clear()
    os.environ.update(spec["env"])


def hand_over(spec: GuestSpec, supervisor: socket, asked: list[int]) -> list[str]:
    """Tell the supervisor that the program starts now, and hold on to nothing of ours."""
    announce_start(supervisor, asked)
    supervisor.detach()
    close_all_but({0, 1, 2, *spec["fds"]})
    reseed()
    return spec["argv"]


def report(supervisor: socket, inside: int) -> NoReturn:
    """Wait for the program, tell how it ended, and end.

    We outlive our parent if need be: the box dies with the supervisor, and its namespace is not
    gone before we have looked at the dead program.
    """
    try:
        supervisor.sendall(str(os.waitpid(inside, 0)[1]).encode())
    finally:
        os._exit(0)


def place_descriptors(output: int, kept: dict[int, int]) -> None:
    """Put each descriptor where the program expects it, `output` as standard output and error."""
    places = {1: output, 2: output, **kept}
    above = max(*places, *places.values()) + 1
    clear = {place: fcntl.fcntl(number, fcntl.F_DUPFD, above) for place, number in places.items()}
    for place, number in clear.items():
        os.dup2(number, place)


def reseed() -> None:
    """Undo what imports have fixed: the seed of numpy's generator, the place of temporary files."""
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if "tempfile" in sys.modules:
        sys.modules["tempfile"].__dict__["tempdir"] = None
