"""Puts a policy's limits on the process that calls, for good.

The order matters: what needs a privilege comes before the privilege is given up, and the system
call filter comes last, since it refuses some of the calls made here.

Modules here import little: dataclasses, pathlib, json and socket would double the 15 ms of
processor time that an interpreter needs to start, in every box.
"""

from __future__ import annotations

import ctypes
import os
import resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypedDict

    class SupervisorSpec(TypedDict):
        """What a box without namespaces is kept by (see `within.warden`).

        `rules` are the paths that it may open and how, `births` is how many processes and threads
        it may have, `folder` the one that is its own, to be cleared away should nobody else do it.
        """

        rules: list[tuple[str, int]]
        max_processes: int
        folder: str

    class GuestSpec(TypedDict):
        """What the supervisor tells the first process of a box.

        `watched` are directories whose descriptors the supervisor wants, `fds` stay open, `cores`
        (empty: not pinned) is the CPU affinity, `limits` are numbers of the `resource` module and
        the most that is allowed, `uid` is what root becomes, `filter` a seccomp program (empty:
        no walls at all), `ward` what stands for the namespaces where there are none.
        """

        argv: list[str]
        env: dict[str, str]
        cwd: str
        watched: list[str]
        fds: list[int]
        cores: list[int]
        limits: list[tuple[int, int]]
        uid: int | None
        filter: bytes
        supervisor: SupervisorSpec | None


PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2
SECCOMP_CALL = {"x86_64": 317, "aarch64": 277}
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_NEW_LISTENER = 8
SECCOMP_WAIT_KILLABLE = 32  # once it is being answered, a call is not begun anew at each signal
SIGKILL = 9  # `signal` takes 5 ms to import
CAPABILITY_VERSION_3 = 0x20080522

libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    """`struct sock_fprog` of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def restrict(spec: GuestSpec) -> None:
    """Put on every limit of `spec`. Raises OSError where one is refused."""
    set_bounds(spec)
    if not spec["filter"]:
        return
    end_first()
    give_up_privileges(spec["uid"])
    set_filter(spec["filter"])


def set_bounds(spec: GuestSpec) -> None:
    """Put on what needs no walls: the folder, the cores, the limits."""
    os.chdir(spec["cwd"])
    os.umask(0o022)
    if spec["cores"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, spec["cores"])
    set_limits(spec["limits"])


def end_first() -> None:
    """Let a machine that is short of memory end us before anything of its own."""
    score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    os.write(score, b"1000")
    os.close(score)


def set_limits(limits: Iterable[tuple[int, int]]) -> None:
    """Set soft and hard limit to the lesser of what is wanted and what is allowed already."""
    for number, wanted in limits:
        hard = resource.getrlimit(number)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(number, (value, value))


def give_up_privileges(uid: int | None) -> None:
    """Become `uid` in every sense and drop every capability and every way to regain one."""
    capability = 0
    # ends at the first that the kernel does not know, or, where we have none at all, at once
    while libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:
        capability += 1
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    must(libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")
    must(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    # a change of user makes /proc/self root's; the program needs its own
    must(libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "dumpable")


def set_filter(code: bytes) -> None:
    """Put the process and all that it starts under the seccomp program `code`."""
    program = _Program(len(code) // 8, code)
    done = libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)
    must(done, "seccomp")


def listen(code: bytes) -> int:
    """Do the same, and return the descriptor on which the calls arrive that `code` asks about."""
    program = _Program(len(code) // 8, code)
    call = SECCOMP_CALL[os.uname().machine]
    flags = SECCOMP_NEW_LISTENER | SECCOMP_WAIT_KILLABLE
    number = int(libc.syscall(call, SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(program)))
    must(number < 0, "seccomp with a listener")
    return number


def close_all_but(keep: set[int]) -> None:
    """Close every descriptor that is not in `keep`."""
    low = 0
    for number in sorted(keep):
        if low < number:  # an empty range would be taken for an endless one
            os.closerange(low, number)
        low = number + 1
    os.closerange(low, 1 << 20)


def die_with_parent(parent: int | None = None) -> None:
    """Let the kernel kill this process when its parent dies; end now if the parent is dead.

    `parent` is its pid; where it is not known, pid 1 counts as the heir of a dead parent.
    """
    must(libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "death signal")
    if (os.getppid() == 1) if parent is None else (os.getppid() != parent):
        os._exit(1)


def must(done: int, what: str) -> None:
    """Raise OSError where a call into the C library has failed."""
    if done:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
