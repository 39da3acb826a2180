"""Puts a policy's limits on the process that calls, for good.

The order matters: what needs a privilege comes before the privilege is given up, and the system
call filter comes last, since it refuses some of the calls made here.
"""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2
CAPABILITY_VERSION_3 = 0x20080522

libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Spec:
    """What the supervisor tells the first process of a box. Survives a trip through JSON.

    `watched` are directories whose descriptors the supervisor wants, `fds` stay open, `cores`
    (empty: not pinned) is the CPU affinity, `limits` maps names of the `resource` module to the
    most that is allowed, `uid` is what root becomes, `filter` a seccomp program in hexadecimal.
    """

    argv: list[str]
    env: dict[str, str]
    cwd: str
    watched: list[str] = field(default_factory=list)
    fds: list[int] = field(default_factory=list)
    cores: list[int] = field(default_factory=list)
    limits: dict[str, int] = field(default_factory=dict)
    uid: int | None = None
    filter: str = ""


class _Program(ctypes.Structure):
    """`struct sock_fprog` of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def restrict(spec: Spec) -> None:
    """Put on every limit of `spec`. Raises OSError where one is refused."""
    os.chdir(spec.cwd)
    os.umask(0o022)
    if spec.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, spec.cores)
    set_limits(spec.limits)
    if not spec.filter:
        return  # tier 0
    Path("/proc/self/oom_score_adj").write_text("1000")  # before anything of the host's
    give_up_privileges(spec.uid)
    set_filter(bytes.fromhex(spec.filter))


def set_limits(limits: Mapping[str, int]) -> None:
    """Set soft and hard limit to the lesser of what is wanted and what is allowed already."""
    for name, wanted in limits.items():
        number = getattr(resource, name)
        hard = resource.getrlimit(number)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(number, (value, value))


def give_up_privileges(uid: int | None) -> None:
    """Become `uid` in every sense and drop every capability and every way to regain one."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for capability in range(last + 1):
        # refused where the bounding set cannot be touched, and empty already
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    _must(libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")
    _must(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    # a change of user makes /proc/self root's; the program needs its own
    _must(libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "dumpable")


def set_filter(code: bytes) -> None:
    """Put the process and all that it starts under the seccomp program `code`."""
    program = _Program(len(code) // 8, code)
    done = libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)
    _must(done, "seccomp")


def close_all_but(keep: set[int]) -> None:
    """Close every descriptor that is not in `keep`."""
    low = 0
    for number in sorted(keep):
        if low < number:  # an empty range would be taken for an endless one
            os.closerange(low, number)
        low = number + 1
    os.closerange(low, 1 << 20)


def _must(done: int, what: str) -> None:
    if done:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
