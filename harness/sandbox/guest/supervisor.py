"""Keeps a box that has no namespaces: a process outside it admits its births and ends it.

The process that takes the spec enters a Landlock domain, out of which no signal leads, and forks.
The child enters a second domain inside the first, puts on the filter and becomes the program. The
parent, the warden, stays between the two: its signals reach all of the box and nothing else, and
no signal of the box's reaches it. So one `kill(-1)` ends the box, whatever it forks, detaches or
hops to meanwhile: the kernel lets no birth slip past it. It comes when the program ends, when the
supervisor says so (SIGTERM) and when the supervisor is dead.

The kernel asks the warden before each new process and thread of the box. RLIMIT_NPROC would count
whatever else our user runs, neighbouring boxes too, and does not bind root.

Not covered: a warden that the machine's memory killer ends takes no box along; births end with it,
and the supervisor ends what it has seen. A box at its limit may overshoot it by the births that
are under way, one for each of its threads.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import time
from _socket import CMSG_LEN, SCM_RIGHTS, SOL_SOCKET, socketpair
from contextlib import suppress
from errno import EAGAIN, EPERM

from .landlock_syscalls import confine, keep_signals_inside
from .limits import (
    PR_SET_CHILD_SUBREAPER,
    PR_SET_DUMPABLE,
    close_all_but,
    end_first,
    give_up_privileges,
    libc,
    listen,
    must,
    set_bounds,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from typing import NoReturn

    from .limits import GuestSpec, SupervisorSpec

RECEIVE, SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV and _SEND
REQUEST = 80  # bytes of `struct seccomp_notif`; its identity is the first 8
GO_ON = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE
SETTLE = 0.001  # seconds for births that were just admitted to be seen
FULL = 0.01  # seconds for which a full box is not counted again


def shut_in(spec: GuestSpec, ward: SupervisorSpec, control: socket) -> int:
    """Become the box's first process, under every limit of `spec`; a warden stays outside.

    Returns a handle on the warden. Raises OSError where a limit is refused.
    """
    give_up_privileges(spec["uid"])
    keep_signals_inside()
    check_signals()
    set_bounds(spec)
    must(libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "the care of orphans")
    must(libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "not dumpable")
    warden = os.pidfd_open(os.getpid())
    ours, theirs = socketpair()
    signal.signal(signal.SIGTERM, end)
    program = os.fork()
    if program:
        guard(program, ward, control, ours)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.setsid()
    must(libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "dumpable")
    end_first()
    confine(ward["rules"])
    listener = listen(spec["filter"])
    theirs.sendmsg([b"+"], [(SOL_SOCKET, SCM_RIGHTS, struct.pack("i", listener))])
    for number in (listener, ours.detach(), theirs.detach()):
        os.close(number)
    return warden


def check_signals() -> None:
    """Raise OSError unless the process that started us is out of our signals' reach.

    Our last act is to kill all that is within it.
    """
    with suppress(PermissionError):
        os.kill(os.getppid(), 0)
        raise OSError(EPERM, "signals are not held back here")


def guard(program: int, ward: SupervisorSpec, control: socket, ours: socket) -> NoReturn:
    """Admit births until the program ends or has to; end the box, and tell how it ended."""
    try:
        close_all_but({control.fileno(), ours.fileno()})
        box = Supervised(program, ward["max_processes"])
        try:
            alone = box.serve(control.fileno(), received(ours))
        finally:
            box.finish()
        if alone:
            os.execv("/bin/rm", ["rm", "-rf", "--", ward["folder"]])  # noqa: S606  # no shell
        control.sendall(str(box.status).encode())
    finally:
        os._exit(0)


def received(ours: socket) -> int:
    """Return the filter's listener, -1 where the process that was to send it is dead."""
    _, ancillary, _, _ = ours.recvmsg(1, CMSG_LEN(4))
    return int(struct.unpack("i", ancillary[0][2])[0]) if ancillary else -1


class Supervised:
    """The box as its warden sees it. `most` is how many processes and threads it may have."""

    def __init__(self, program: int, most: int) -> None:
        self.program, self.most, self.status = program, most, 0
        self._left, self._full = 0, 0.0

    def serve(self, control: int, listener: int) -> bool:
        """Answer requests until the program ends; return whether the supervisor is dead."""
        ended = os.pidfd_open(self.program)
        poll = select.poll()
        poll.register(control, 0)  # its other end is closed: the supervisor is dead
        poll.register(ended, select.POLLIN)
        if listener >= 0:
            poll.register(listener, select.POLLIN)
        while True:
            ready = dict(poll.poll())
            if ended in ready or control in ready:
                return control in ready
            if ready[listener] & select.POLLIN:
                self.answer(listener)
            else:
                poll.unregister(listener)  # nobody is left to ask

    def answer(self, listener: int) -> None:
        """Admit or refuse one birth."""
        request = bytearray(REQUEST)
        with suppress(InterruptedError, FileNotFoundError):  # whoever asked is dead
            fcntl.ioctl(listener, RECEIVE, request)
            error, flags = (0, GO_ON) if self.admits() else (-EAGAIN, 0)
            fcntl.ioctl(listener, SEND, struct.pack("=8sqiI", request[:8], 0, error, flags))

    def admits(self) -> bool:
        """Say whether there is room for one more, counting only where it may have run out."""
        if not self._left and time.monotonic() >= self._full:
            time.sleep(SETTLE)
            self._left = max(0, self.most - self.count())
            self._full = time.monotonic() + FULL * (not self._left)
        if not self._left:
            return False
        self._left -= 1
        return True

    def count(self) -> int:
        """Return how many processes and threads there are: whatever our signals reach."""
        self.reap(os.WNOHANG)
        mine = str(os.getpid())
        return sum(threads(pid) for pid in os.listdir("/proc") if pid.isdigit() and pid != mine)  # noqa: PTH208

    def reap(self, options: int) -> bool:
        """Take leave of the dead, orphans too; return whether all are."""
        try:
            while (found := os.waitpid(-1, options))[0]:
                if found[0] == self.program:
                    self.status = found[1]
        except ChildProcessError:
            return True
        return False

    def finish(self) -> None:
        """End all of the box, and wait until it is gone."""
        end()
        while not self.reap(0):
            end()


def threads(pid: str) -> int:
    """Return how many threads a process of the box has, 0 for any other."""
    try:
        os.kill(int(pid), 0)
        return os.stat(f"/proc/{pid}/task").st_nlink - 2  # noqa: PTH116  # pathlib takes 10 ms
    except (PermissionError, FileNotFoundError, ProcessLookupError):
        return 0


def end(*_: object) -> None:
    """Kill all that our signals reach."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(-1, signal.SIGKILL)
