"""A process that has imported what box programs import, and becomes them by forking.

Started as `zygote REQUESTS ROOT:ROOT MODULE,MODULE` by the supervisor, with no file of the host's
open but REQUESTS, a stream socket:

    we say      READY, once everything is imported
    it says     for each box ENTER (ENTER_OWN where the box has a user namespace of its own), the
                process group that bubblewrap makes it in, as 4 bytes, and with them the other end
                of its first process's control socket, and a control socket; or BEGIN, no group,
                and the control socket alone

A copy waits until the box is made, enters its namespaces, forks once more (a process never changes
its own PID namespace) and goes on over its control socket. Where the supervisor is gone before
that, the copy ends what there is of the box: a process of bubblewrap that waits for one that was
killed would wait for good.

    we say      READY, with the handles that the box's first process has given
    it says     GIVEN, with the descriptors of where output goes and of those that the program is
                to keep; and a Spec, as to `first`: an early end means that it is dead
    we say      GO, once the spec's limits are in force, and become the program

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
import os
import select
import signal
import sys
from _socket import CMSG_LEN, MSG_WAITALL, socket
from contextlib import suppress

from . import warden  # noqa: F401  # before the first copy is made, which may be out of its reach
from .first import BEGIN, ENTER_OWN, GIVEN, GO, GROUP, READY, go, read, say, shut_in
from .program import start
from .restrict import close_all_but, libc, must, restrict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from .restrict import Spec

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000
NAMESPACES = 0x6E020000  # CLONE_NEWNS, CGROUP, UTS, IPC, PID, NET
MOST = 64  # descriptors for one box


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
        said, descriptors = received(requests, 1 + GROUP)
        if not said:
            os._exit(0)
        passed = array.array("i", descriptors)
        if not os.fork():
            requests.detach()
            close_all_but({0, 1, 2, *passed})
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            how, group = said[:1], int.from_bytes(said[1:], sys.byteorder)
            return begin(*passed) if how == BEGIN else enter(group, *passed, own=how == ENTER_OWN)
        for number in passed:
            os.close(number)


def enter(group: int, making: int, control: int, *, own: bool) -> list[str]:
    """Enter the box that is being made; return its program's words in there."""
    supervisor = socket(fileno=control)
    handles = made(socket(fileno=making), supervisor, group)
    # a box has a user namespace of its own where we are not root
    must(libc.setns(handles[0], NAMESPACES | CLONE_NEWUSER * own), "setns")
    inside = os.fork()
    if inside:
        close_all_but({control})
        report(supervisor, inside)
    os.setsid()  # or the process in between could be signalled through our group
    spec = told(supervisor, handles)
    restrict(spec)
    return let_go(spec, supervisor, [])


def begin(control: int) -> list[str]:
    """Make a box without namespaces; return its program's words in there."""
    supervisor = socket(fileno=control)
    spec = told(supervisor, [])
    return let_go(spec, supervisor, shut_in(spec, supervisor))


def made(making: socket, supervisor: socket, group: int) -> list[int]:
    """Wait until a box's first process is what it will be; return the handles that it gives."""
    handles: list[int] = []
    for word in (READY, GO):
        wait(making, supervisor, group)
        handles = hear(making, word)
    making.close()
    return handles


def wait(making: socket, supervisor: socket, group: int) -> None:
    """Wait for a word on `making`; where the supervisor has gone, end the group, and ourselves."""
    both = select.poll()
    for each in (making, supervisor):
        both.register(each.fileno(), select.POLLIN)
    if supervisor.fileno() in dict(both.poll()):
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        os._exit(126)


def told(supervisor: socket, handles: list[int]) -> Spec:
    """Say that we are there, and take on what we are told, or end."""
    say(supervisor, READY, handles)
    for number in handles:
        os.close(number)
    output, *kept = hear(supervisor, GIVEN)
    spec = read(supervisor)
    prepare(spec, output, kept)
    return spec


def hear(control: socket, word: bytes) -> list[int]:
    """Return the descriptors that come with a word that is due, or end: nobody says it any more."""
    said = passed = b""
    with suppress(ConnectionResetError):
        said, passed = received(control, len(word))
    if said != word:
        os._exit(126)
    return list(array.array("i", passed))


def received(control: socket, count: int) -> tuple[bytes, bytes]:
    """Return the next `count` bytes, and the descriptors that come with them, as bytes too."""
    said, ancillary, _, _ = control.recvmsg(count, CMSG_LEN(4 * MOST), MSG_WAITALL)
    return said, b"".join(data for _, _, data in ancillary)


def prepare(spec: Spec, output: int, kept: list[int]) -> None:
    """Take on the descriptors and the environment of a program."""
    hand_on(output, dict(zip(spec["fds"], kept, strict=True)))
    os.environ.clear()
    os.environ.update(spec["env"])


def let_go(spec: Spec, supervisor: socket, asked: list[int]) -> list[str]:
    """Tell the supervisor that the program starts now, and hold on to nothing of ours."""
    go(supervisor, asked)
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


def hand_on(output: int, kept: dict[int, int]) -> None:
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


def die_with_parent() -> None:
    """End when the process that started us does."""
    must(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "death signal")
    if os.getppid() == 1:
        os._exit(1)
