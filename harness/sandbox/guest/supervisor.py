"""Supervises a sandbox without namespaces: limits its forks and kills the whole tree.

The process that takes the spec enters a Landlock domain, which confines its signals, and forks. The
child enters a second domain inside the first, applies the filter and becomes the program. The
parent, the supervisor, stays between the two: its signals reach all of the sandbox and nothing
else, and no signal from the sandbox reaches it. So one `kill(-1)` ends the sandbox, whatever it
forks or detaches meanwhile: no new process escapes it. That happens when the program ends, at
SIGTERM from the harness, and when the harness is dead.

The kernel asks the supervisor before each new process and thread of the sandbox. RLIMIT_NPROC would
count everything that our user runs, neighbouring sandboxes too, and does not bind root.

Not covered: a supervisor killed by the machine's OOM killer does not take its sandbox along; forks
fail from then on, and the harness kills the processes it has seen. A sandbox at its limit may
exceed it by the forks under way, one for each of its threads.
"""

from __future__ import annotations

import fcntl
import os
import resource
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
    give_up_privileges,
    libc,
    listen,
    must,
    prefer_oom_kill,
    set_bounds,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from typing import NoReturn

    from .limits import GuestSpec, SupervisorSpec

RECEIVE, SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV and _SEND
REQUEST_BYTES = 80  # bytes of `struct seccomp_notif`; its identity is the first 8
CONTINUE = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE
SETTLE_S = 0.001  # for admitted forks to become visible
RECOUNT_AFTER_S = 0.01  # a sandbox at its limit is not counted again before


def start_supervised(spec: GuestSpec, limits: SupervisorSpec, control: socket) -> int:
    """Fork: return in the child, the sandbox's first process, under every limit of `spec`.

    The parent becomes the supervisor and never returns. Returns a pidfd of the supervisor. Raises
    OSError where a limit is refused.
    """
    give_up_privileges(spec["uid"])
    keep_signals_inside()
    check_signals()
    set_bounds(spec)
    must(libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "set subreaper")
    must(libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "not dumpable")
    supervisor = os.pidfd_open(os.getpid())
    ours, theirs = socketpair()
    signal.signal(signal.SIGTERM, kill_all)
    program = os.fork()
    if program:
        supervise(program, limits, control, ours)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.setsid()
    must(libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "dumpable")
    prefer_oom_kill()
    confine(limits["rules"])
    listener = listen(spec["filter"])
    theirs.sendmsg([b"+"], [(SOL_SOCKET, SCM_RIGHTS, struct.pack("i", listener))])
    for number in (listener, ours.detach(), theirs.detach()):
        os.close(number)
    return supervisor


def check_signals() -> None:
    """Raise OSError unless our parent is out of reach of our signals.

    The supervisor ends by killing everything in reach.
    """
    with suppress(PermissionError):
        os.kill(os.getppid(), 0)
        raise OSError(EPERM, "signals are not confined here")


def supervise(program: int, limits: SupervisorSpec, control: socket, ours: socket) -> NoReturn:
    """Answer forks until the program ends or must end; kill the sandbox, report how it ended."""
    try:
        close_all_but({control.fileno(), ours.fileno()})
        sandbox = Supervised(program, limits["max_processes"])
        try:
            alone = sandbox.serve(control.fileno(), receive_listener(ours))
        finally:
            sandbox.finish()
        if alone:
            os.execv("/bin/rm", ["rm", "-rf", "--", limits["folder"]])  # noqa: S606  # no shell
        used = resource.getrusage(resource.RUSAGE_CHILDREN)  # all of it has been reaped here
        control.sendall(f"{sandbox.status} {used.ru_utime + used.ru_stime:.6f}".encode())
    finally:
        os._exit(0)


def receive_listener(ours: socket) -> int:
    """Return the filter's listener, -1 where its sender is dead."""
    _, ancillary, _, _ = ours.recvmsg(1, CMSG_LEN(4))
    return int(struct.unpack("i", ancillary[0][2])[0]) if ancillary else -1


class Supervised:
    """The sandbox as its supervisor sees it; `limit` counts processes and threads."""

    def __init__(self, program: int, most: int) -> None:
        self.program, self.limit, self.status = program, most, 0
        self._budget, self._recount_at = 0, 0.0

    def serve(self, control: int, listener: int) -> bool:
        """Answer requests until the program ends; return whether the harness is dead."""
        ended = os.pidfd_open(self.program)
        poll = select.poll()
        poll.register(control, 0)  # hang-up: the harness is dead
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
                poll.unregister(listener)  # no process is left

    def answer(self, listener: int) -> None:
        """Allow or refuse one fork."""
        request = bytearray(REQUEST_BYTES)
        with suppress(InterruptedError, FileNotFoundError):  # the caller is dead
            fcntl.ioctl(listener, RECEIVE, request)
            error, flags = (0, CONTINUE) if self.may_fork() else (-EAGAIN, 0)
            fcntl.ioctl(listener, SEND, struct.pack("=8sqiI", request[:8], 0, error, flags))

    def may_fork(self) -> bool:
        """Return whether one more fits; processes are counted only when the budget is used up."""
        if not self._budget and time.monotonic() >= self._recount_at:
            time.sleep(SETTLE_S)
            self._budget = max(0, self.limit - self.count())
            self._recount_at = time.monotonic() + RECOUNT_AFTER_S * (not self._budget)
        if not self._budget:
            return False
        self._budget -= 1
        return True

    def count(self) -> int:
        """Return the number of processes and threads: all that our signals reach."""
        self.reap(os.WNOHANG)
        mine = str(os.getpid())
        return sum(threads(pid) for pid in os.listdir("/proc") if pid.isdigit() and pid != mine)  # noqa: PTH208

    def reap(self, options: int) -> bool:
        """Reap exited children, adopted orphans too; return whether none is left."""
        try:
            while (exited := os.waitpid(-1, options))[0]:
                if exited[0] == self.program:
                    self.status = exited[1]
        except ChildProcessError:
            return True
        return False

    def finish(self) -> None:
        """Kill the whole sandbox and wait until it is gone."""
        kill_all()
        while not self.reap(0):
            kill_all()


def threads(pid: str) -> int:
    """Return the number of threads of a process of the sandbox, 0 for any other."""
    try:
        os.kill(int(pid), 0)
        return os.stat(f"/proc/{pid}/task").st_nlink - 2  # noqa: PTH116  # pathlib takes 10 ms
    except (PermissionError, FileNotFoundError, ProcessLookupError):
        return 0


def kill_all(*_: object) -> None:
    """Kill everything that our signals reach."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(-1, signal.SIGKILL)
