"""The system calls that a box may not make, as a seccomp program in classic BPF.

Everything that would change the machine, look into another process, make a new namespace, or hold
memory where the watchdog cannot see it. A call that this file has never heard of does not exist
(ENOSYS), so what a newer kernel adds is refused. The layout is that of linux/seccomp.h: system
call number at byte 0, architecture at 4, arguments of 8 bytes from 16.

Not covered: this is a list of what is refused, not of what is needed, so a hole in an ordinary
system call of the kernel stays reachable. On CUDA slices memfd_create is open to the driver, and
memory that is hidden there is seen only once it is mapped.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from harness.contract import SetupError

ALLOW: Final = 0x7FFF0000
KILL: Final = 0x80000000
ERRNO: Final = 0x00050000
LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
RETURN: Final = 0x06  # BPF_RET | BPF_K

NEW_NAMESPACE: Final = 0x7E020000  # CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID, NET
NEW_TIME: Final = 0x80  # CLONE_NEWTIME; in clone these bits are the exit signal
AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
LAST_KNOWN: Final = 462  # mseal, the last call that this file knows

Call = tuple[int, int]  # its number on x86_64 and on aarch64, -1 where there is none

REFUSED: Final[dict[int, dict[str, Call]]] = {
    errno.EPERM: {
        # other processes
        "ptrace": (101, 117),
        "process_vm_readv": (310, 270),
        "process_vm_writev": (311, 271),
        "process_madvise": (440, 440),
        "kcmp": (312, 272),
        "pidfd_getfd": (438, 438),
        # namespaces and mounts
        "setns": (308, 268),
        "mount": (165, 40),
        "umount2": (166, 39),
        "pivot_root": (155, 41),
        "chroot": (161, 51),
        "open_tree": (428, 428),
        "move_mount": (429, 429),
        "fsopen": (430, 430),
        "fsconfig": (431, 431),
        "fsmount": (432, 432),
        "fspick": (433, 433),
        "mount_setattr": (442, 442),
        "name_to_handle_at": (303, 264),
        "open_by_handle_at": (304, 265),
        # the kernel's own
        "bpf": (321, 280),
        "perf_event_open": (298, 241),
        "userfaultfd": (323, 282),
        "fanotify_init": (300, 262),
        "keyctl": (250, 219),
        "add_key": (248, 217),
        "request_key": (249, 218),
        "syslog": (103, 116),
        "acct": (163, 89),
        "quotactl": (179, 60),
        "quotactl_fd": (443, 443),
        "swapon": (167, 224),
        "swapoff": (168, 225),
        "reboot": (169, 142),
        "kexec_load": (246, 104),
        "kexec_file_load": (320, 294),
        "init_module": (175, 105),
        "finit_module": (313, 273),
        "delete_module": (176, 106),
        "vhangup": (153, 58),
        "iopl": (172, -1),
        "ioperm": (173, -1),
        "modify_ldt": (154, -1),
        "uselib": (134, -1),
        "sysfs": (139, -1),
        "personality": (135, 92),
        # the clock, and the processor's time
        "clock_settime": (227, 112),
        "clock_adjtime": (305, 266),
        "settimeofday": (164, 170),
        "adjtimex": (159, 171),
        "sched_setscheduler": (144, 119),
        "sched_setattr": (314, 274),
        "ioprio_set": (251, 30),
        "move_pages": (279, 239),
        "migrate_pages": (256, 238),
    },
    # asked for by libraries that have another way when there is none
    errno.ENOSYS: {
        "clone3": (435, 435),  # its flags lie in memory, where a filter cannot look
        "io_uring_setup": (425, 425),
        "io_uring_enter": (426, 426),
        "io_uring_register": (427, 427),
        # memory that belongs to no process, and outlives it
        "shmget": (29, 194),
        "shmat": (30, 196),
        "semget": (64, 190),
        "msgget": (68, 186),
        "mq_open": (240, 180),
        "memfd_secret": (447, 447),
        "memfd_create": (319, 279),
        "seccomp": (317, 277),
    },
    errno.EOPNOTSUPP: {"fallocate": (285, 47)},
    # "done", and it is not: EPERM would silently cut torch to one thread (measured)
    0: {"sched_setaffinity": (203, 122)},
}

CLONE: Final = (56, 220)
UNSHARE: Final = (272, 97)
SOCKET: Final = (41, 198)
IOCTL: Final = (16, 29)


@dataclass(frozen=True, slots=True)
class Machine:
    """An architecture: AUDIT_ARCH of linux/audit.h, and its column in the tables above."""

    audit: int
    column: int


MACHINES: Final = {"x86_64": Machine(0xC000003E, 0), "aarch64": Machine(0xC00000B7, 1)}


@cache
def program(*, memfd: bool, machine: str = "") -> bytes:
    """Return the filter for this machine; `memfd` lets memfd_create pass.

    Raises SetupError on an architecture whose system calls this file does not know.
    """
    name = machine or platform.machine()
    found = MACHINES.get(name)
    if found is None:
        raise SetupError(f"boxes are known on {', '.join(MACHINES)}, not on {name}")
    lines = [_load(4), *_unless(EQUAL, found.audit, KILL), _load(0)]
    lines += _if(AT_LEAST, LAST_KNOWN + 1, ERRNO | errno.ENOSYS)
    for error, calls in REFUSED.items():
        for name, call in calls.items():
            if call[found.column] >= 0 and not (memfd and name == "memfd_create"):
                lines += _if(EQUAL, call[found.column], ERRNO | error)
    lines += _flags(CLONE[found.column], NEW_NAMESPACE)
    lines += _flags(UNSHARE[found.column], NEW_NAMESPACE | NEW_TIME)
    lines += _argument(IOCTL[found.column], 1, _refuse((TIOCSTI, TIOCLINUX), errno.EPERM))
    lines += _argument(SOCKET[found.column], 0, _admit((AF_UNIX, AF_INET, AF_INET6)))
    return b"".join([*lines, _line(RETURN, ALLOW)])


def _line(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    """Return one `struct sock_filter`."""
    return struct.pack("<HBBI", code, yes, no, value)


def _load(offset: int) -> bytes:
    return _line(LOAD, offset)


def _if(test: int, value: int, answer: int) -> list[bytes]:
    return [_line(test, value, 0, 1), _line(RETURN, answer)]


def _unless(test: int, value: int, answer: int) -> list[bytes]:
    return [_line(test, value, 1, 0), _line(RETURN, answer)]


def _argument(call: int, index: int, lines: Sequence[bytes]) -> list[bytes]:
    """Return what decides on a call by the low half of an argument; `lines` end in a return."""
    return [_line(EQUAL, call, 0, 1 + len(lines)), _load(16 + 8 * index), *lines]


def _flags(call: int, refused: int) -> list[bytes]:
    lines = [*_if(ANY_BIT, refused, ERRNO | errno.EPERM), _line(RETURN, ALLOW)]
    return _argument(call, 0, lines)


def _refuse(values: Sequence[int], error: int) -> list[bytes]:
    tests = [line for value in values for line in _if(EQUAL, value, ERRNO | error)]
    return [*tests, _line(RETURN, ALLOW)]


def _admit(values: Sequence[int]) -> list[bytes]:
    tests = [line for value in values for line in _if(EQUAL, value, ALLOW)]
    return [*tests, _line(RETURN, ERRNO | errno.EAFNOSUPPORT)]
