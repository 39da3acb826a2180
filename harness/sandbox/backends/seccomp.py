"""The system call filter of a sandbox, as a seccomp program in classic BPF.

Refused is everything that would change the machine, look into another process, make a namespace, or
hold memory where the watchdog cannot see it. A call unknown to this file does not exist (ENOSYS),
so what a newer kernel adds is refused. The layout is that of linux/seccomp.h: system call number at
byte 0, architecture at 4, arguments of 8 bytes from 16.

A Landlock sandbox shares the host's namespaces and, for a plain user, our own uid. It is refused
more: what namespaces and read-only mounts would prevent otherwise, and what Landlock does not
check. There the supervisor is asked before each fork.

Not covered: this lists what is refused, not what is needed, so a hole in an ordinary system call
stays reachable. On CUDA slices memfd_create is open to the driver, and memory hidden there is seen
only once it is mapped.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from harness.contract import SetupError

ALLOW: Final = 0x7FFF0000
KILL: Final = 0x80000000
ASK: Final = 0x7FC00000  # the holder of the filter's listener
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
LAST_KNOWN: Final = 462  # mseal, the last call known to this file

Call = tuple[int, int]  # number on x86_64 and on aarch64, -1: no such call

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
        # the kernel itself
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
        # the clock and CPU scheduling
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
    # called by libraries that fall back when they do not exist
    errno.ENOSYS: {
        "clone3": (435, 435),  # its flags lie in memory, which a filter cannot read
        "io_uring_setup": (425, 425),
        "io_uring_enter": (426, 426),
        "io_uring_register": (427, 427),
        # memory that belongs to no process and outlives it
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
    # reported as done, without effect: EPERM would silently cut torch to one thread (measured)
    0: {"sched_setaffinity": (203, 122)},
}

REFUSED_WHERE_SHARED: Final[dict[int, dict[str, Call]]] = {
    errno.EPERM: {
        "connect": (42, 203),
        "bind": (49, 200),
        "chown": (92, -1),
        "fchown": (93, 55),
        "lchown": (94, -1),
        "fchownat": (260, 54),
        "sched_setparam": (142, 118),
    },
    errno.EAFNOSUPPORT: {"socket": (41, 198)},  # Landlock does not check Unix sockets
    errno.ENOSYS: {
        # objects of an IPC namespace can be used by number, without being opened
        "semop": (65, 193),
        "semctl": (66, 191),
        "semtimedop": (220, 192),
        "shmctl": (31, 195),
        "msgsnd": (69, 189),
        "msgrcv": (70, 188),
        "msgctl": (71, 187),
        "mq_unlink": (241, 181),
        # file activity of others
        "inotify_init": (253, -1),
        "inotify_init1": (294, 26),
        "inotify_add_watch": (254, 27),
    },
    # Landlock does not check attributes and modes
    errno.EOPNOTSUPP: {
        "setxattr": (188, 5),
        "lsetxattr": (189, 6),
        "fsetxattr": (190, 7),
        "removexattr": (197, 14),
        "lremovexattr": (198, 15),
        "fremovexattr": (199, 16),
    },
    # reported as done, without effect: EPERM would break shutil.copy and the like
    0: {
        "chmod": (90, -1),
        "fchmod": (91, 52),
        "fchmodat": (268, 53),
        "fchmodat2": (452, 452),
        "utime": (132, -1),
        "utimes": (235, -1),
        "futimesat": (261, -1),
        "utimensat": (280, 88),
    },
}
"""Refused in Landlock sandboxes as well: files and processes around them may have the same uid."""

FORKS: Final[dict[str, Call]] = {"fork": (57, -1), "vfork": (58, -1)}  # and clone
CLONE: Final = (56, 220)
UNSHARE: Final = (272, 97)
SOCKET: Final = (41, 198)
IOCTL: Final = (16, 29)
SOCKETPAIR: Final = (53, 199)
SETPRIORITY: Final = (141, 140)
PRLIMIT: Final = (302, 261)
PRCTL: Final = (157, 167)

# a pair of datagram sockets could send to any Unix socket
STREAMS = tuple(1 | close | wait for close in (0, 0x80000) for wait in (0, 0x800))
# file attributes: flags, project, version, verity, encryption
FILE_IOCTLS = (0x40086602, 0x401C5820, 0x40087602, 0x40086604, 0x40806685, 0x800C6613)
PR_SET_DUMPABLE = 4  # the watchdog cannot measure a process that is not dumpable


@dataclass(frozen=True, slots=True)
class Machine:
    """An architecture: AUDIT_ARCH of linux/audit.h, and its column in the tables above."""

    audit: int
    column: int


MACHINES: Final = {"x86_64": Machine(0xC000003E, 0), "aarch64": Machine(0xC00000B7, 1)}


@cache
def program(*, memfd: bool, shared: bool = False, machine: str = "") -> bytes:
    """Return the filter for this machine (or `machine`); `memfd` allows memfd_create.

    `shared` is for sandboxes in the host's namespaces; that filter needs a listener. Raises
    SetupError on an unknown architecture.
    """
    name = machine or platform.machine()
    architecture = MACHINES.get(name)
    if architecture is None:
        raise SetupError(f"sandboxes need one of {', '.join(MACHINES)}, and this is {name}")
    column = architecture.column
    lines = [_load(4), *_unless(EQUAL, architecture.audit, KILL), _load(0)]
    lines += _if(AT_LEAST, LAST_KNOWN + 1, ERRNO | errno.ENOSYS)
    lines += _answers(REFUSED, column, but="memfd_create" if memfd else "")
    lines += _answers(REFUSED_WHERE_SHARED, column) + _limited(column) if shared else []
    ioctls = (TIOCSTI, TIOCLINUX, *(FILE_IOCTLS if shared else ()))
    lines += _flags(CLONE[column], NEW_NAMESPACE, ASK if shared else ALLOW)
    lines += _flags(UNSHARE[column], NEW_NAMESPACE | NEW_TIME, ALLOW)
    lines += _argument(IOCTL[column], 1, _refuse(ioctls, errno.EPERM))
    lines += _argument(SOCKET[column], 0, _admit((AF_UNIX, AF_INET, AF_INET6)))
    return b"".join([*lines, _line(RETURN, ALLOW)])


def _answers(table: Mapping[int, Mapping[str, Call]], column: int, but: str = "") -> list[bytes]:
    """Return lines that refuse the calls of `table` with their errors, except `but`."""
    lines = []
    for error, calls in table.items():
        for name, call in calls.items():
            if call[column] >= 0 and name != but:
                lines += _if(EQUAL, call[column], ERRNO | error)
    return lines


def _limited(column: int) -> list[bytes]:
    """Return lines that limit a sandbox to its own processes and unconnected sockets."""
    forks = [call[column] for call in FORKS.values() if call[column] >= 0]
    lines = [line for call in forks for line in _if(EQUAL, call, ASK)]
    lines += _argument(SOCKETPAIR[column], 1, _admit(STREAMS))
    lines += _argument(PRCTL[column], 0, _refuse((PR_SET_DUMPABLE,), errno.EPERM))
    myself = [*_unless(EQUAL, 0, ERRNO | errno.EPERM), _line(RETURN, ALLOW)]
    lines += _argument(PRLIMIT[column], 0, myself)
    one_process = _unless(EQUAL, 0, ERRNO | errno.EPERM)  # neither a group nor a user
    return lines + _argument(SETPRIORITY[column], 0, [*one_process, _load(16 + 8), *myself])


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
    """Return lines that apply `lines`, which end in a return, to the low half of an argument."""
    return [_line(EQUAL, call, 0, 1 + len(lines)), _load(16 + 8 * index), *lines]


def _flags(call: int, refused: int, otherwise: int) -> list[bytes]:
    lines = [*_if(ANY_BIT, refused, ERRNO | errno.EPERM), _line(RETURN, otherwise)]
    return _argument(call, 0, lines)


def _refuse(values: Sequence[int], error: int) -> list[bytes]:
    tests = [line for value in values for line in _if(EQUAL, value, ERRNO | error)]
    return [*tests, _line(RETURN, ALLOW)]


def _admit(values: Sequence[int]) -> list[bytes]:
    tests = [line for value in values for line in _if(EQUAL, value, ALLOW)]
    return [*tests, _line(RETURN, ERRNO | errno.EAFNOSUPPORT)]
