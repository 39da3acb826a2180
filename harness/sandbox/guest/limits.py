"""Applies a policy's limits to the calling process, for good.

The order matters: what needs a privilege comes before the privilege is dropped, and the system call
filter comes last, since it refuses some of the calls made here.

Modules here import little: dataclasses, pathlib, json and socket would double the 15 ms of CPU time
that an interpreter needs to start, in every sandbox.
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
        """What confines a sandbox without namespaces (see `guest.supervisor`).

        rules: the paths that it may open, with rights
        max_processes: limit on processes and threads
        folder: its own folder, removed by the supervisor if the harness dies
        """

        rules: list[tuple[str, int]]
        max_processes: int
        folder: str

    class GuestSpec(TypedDict):
        """What the harness tells the first process of a sandbox.

        watched: directories whose descriptors the harness wants
        fds: descriptors that stay open
        cores: the CPU affinity; empty: not pinned
        limits: numbers of the `resource` module, with their values
        uid: what root changes to; None: no change
        filter: a seccomp program; empty: no sandbox at all
        supervisor: what replaces the namespaces where there are none
        domain: whether the program may trace only what it starts, and no process of ours
        mappings: whether it may read which pages are in memory, and whether others have them mapped
        written: whether it may write to files of /proc, which CUDA's driver does
        executed: whether argv is a command, not a script for a zygote's copy
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
        domain: bool
        mappings: bool
        written: bool
        executed: bool


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
SECCOMP_WAIT_KILLABLE = 32  # a signal does not restart a call that is being answered
SIGKILL = 9  # `signal` takes 5 ms to import
CAPABILITY_VERSION_3 = 0x20080522

libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    """`struct sock_fprog` of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def restrict(spec: GuestSpec) -> None:
    """Apply every limit of `spec`. Raises OSError where one is refused."""
    set_bounds(spec)
    if not spec["filter"]:
        return
    prefer_oom_kill()
    give_up_privileges(spec["uid"])
    if spec["domain"]:
        from .landlock_syscalls import keep_tracing_inside  # noqa: PLC0415  # it imports us

        keep_tracing_inside(mappings=spec["mappings"], written=spec["written"])
    set_filter(spec["filter"])


def set_bounds(spec: GuestSpec) -> None:
    """Apply what needs no sandbox: working directory, cores, resource limits."""
    os.chdir(spec["cwd"])
    os.umask(0o022)
    if spec["cores"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, spec["cores"])
    set_limits(spec["limits"])


def prefer_oom_kill() -> None:
    """Make this process the first victim when the machine runs out of memory."""
    score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    os.write(score, b"1000")
    os.close(score)


def set_limits(limits: Iterable[tuple[int, int]]) -> None:
    """Set soft and hard limits to the lesser of the value wanted and the present hard limit."""
    for number, wanted in limits:
        hard = resource.getrlimit(number)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(number, (value, value))


def limit_others(limits: Iterable[tuple[int, int]]) -> None:
    """Limit the other processes of this PID namespace, which keep the sandbox alive.

    They have the sandbox's uid where we are not root, and nothing to do.
    """
    mine = str(os.getpid())
    for pid in os.listdir("/proc"):  # noqa: PTH208  # pathlib takes 10 ms
        if pid.isdigit() and pid != mine:
            for number, wanted in limits:
                hard = resource.prlimit(int(pid), number)[1]
                value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
                resource.prlimit(int(pid), number, (value, value))


def give_up_privileges(uid: int | None) -> None:
    """Change to `uid` (if given), drop every capability and every way to regain one."""
    capability = 0
    # ends at the first unknown capability, or at once where we have none
    while libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:
        capability += 1
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    must(libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")
    must(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    # a change of uid gives /proc/self to root; the program needs it
    must(libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "dumpable")


def set_filter(code: bytes) -> None:
    """Apply the seccomp program `code` to this process and its descendants."""
    program = _Program(len(code) // 8, code)
    done = libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)
    must(done, "seccomp")


def listen(code: bytes) -> int:
    """Apply `code`; return the listener that receives the calls it asks about."""
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
        if low < number:  # closerange takes an empty range for an endless one
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
    """Raise OSError where a C library call has failed (`done` is not 0)."""
    if done:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
