"""The system calls that a sandbox's filter answers itself, each with its reason, in one table.

Those that it answers for some arguments are in `call_arguments`.

Not covered:
- futexes: two sandboxes that run at a time and map one file (a library of their zygotes' is enough)
  can wake each other through a futex on it, mapped shared or private. The flag that keeps a futex
  in its process cannot be asked for: whoever joins a thread waits for one without, locks between a
  program's own processes are such, and the kernel wakes one where a thread ends. Receivers in
  Python read 160 to 400 bits a second (`python -m tests.attacks.channels`); one in
  machine code will read thousands, as by the lines of a cache that their cores share;
- numbers that the kernel gives in turn to the whole machine: the inodes of pipes, of sockets and of
  processes in /proc. A core takes 1,024 at a time: 4 to 9 bits a second between two slices, and
  some ten bits from one sandbox of a slice to the next;
- what the kernel counts for each user and lets a process feel: pages of pipes (a new pipe is small
  where 16,384 are used up) and descriptors in flight (none more can be sent). A plain user's
  sandboxes share these counts; root's share them with those of their slice alone. Pending signals
  are counted for each user namespace, so shared in a plain user's Landlock sandboxes alone.
  Watches, keys, queues, namespaces and requests to disks, of which a user has a number too, are
  refused above;
- eventfds in CUDA's sandboxes and the user's own commands, which need them: /proc shows their
  numbers, but with Landlock;
- statfs: it shows how full a disk of the host is, which changes when a trial's results are copied.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Call = tuple[int, int]  # number on x86_64 and on aarch64, -1: no such call

Where = Literal["everywhere", "shared", "no driver", "no event loop", "no sockets", "sockets"]
EVERYWHERE: Final = "everywhere"
SHARED: Final = "shared"
NO_DRIVER: Final = "no driver"
NO_EVENT_LOOP: Final = "no event loop"
NO_SOCKETS: Final = "no sockets"
SOCKETS: Final = "sockets"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Calls that are answered without being made.

    reason: what they would reach
    error: the answer; 0: reported as done, without effect
    calls: their numbers, by name
    where: "shared": only in Landlock sandboxes, around which files and processes may have the same
        uid; "no driver": not on CUDA slices, whose driver makes them; "no event loop":
        neither there nor where the user's own commands run; "sockets" and "no sockets": where they
        run, and where not
    """

    reason: str
    error: int
    calls: Mapping[str, Call]
    where: Where = EVERYWHERE


REFUSED: Final = (
    Refusal(
        "other processes: their memory, descriptors and steps",
        errno.EPERM,
        {
            "ptrace": (101, 117),
            "process_vm_readv": (310, 270),
            "process_vm_writev": (311, 271),
            "process_madvise": (440, 440),
            "kcmp": (312, 272),
            "pidfd_getfd": (438, 438),
        },
    ),
    Refusal(
        "namespaces and mounts, in which a program could become root",
        errno.EPERM,
        {
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
        },
    ),
    Refusal(
        "the kernel itself: its code, settings, keys, log, devices",
        errno.EPERM,
        {
            "bpf": (321, 280),
            "perf_event_open": (298, 241),
            "userfaultfd": (323, 282),
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
        },
    ),
    Refusal(
        "the clock and CPU scheduling",
        errno.EPERM,
        {
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
    ),
    Refusal(
        "counts of the whole machine: processes, load, free memory, which a neighbour can move",
        errno.EPERM,
        {"sysinfo": (99, 179)},
    ),
    Refusal(
        "pidfds: the inode of one says how many processes the machine has ever started (Linux 6.9)",
        errno.ENOSYS,
        {"pidfd_open": (434, 434)},
    ),
    Refusal(
        "which pages of a file are in memory, which every sandbox that sees the file can set",
        errno.ENOSYS,
        {"mincore": (27, 232), "cachestat": (451, 451)},
    ),
    Refusal(
        "what others do with files",
        errno.ENOSYS,
        {
            "inotify_init": (253, -1),
            "inotify_init1": (294, 26),
            "inotify_add_watch": (254, 27),
            "fanotify_init": (300, 262),
            "fanotify_mark": (301, 263),
        },
    ),
    Refusal(
        "requests that no filter sees, or whose flags lie in memory that it cannot read",
        errno.ENOSYS,
        {
            "clone3": (435, 435),
            "openat2": (437, 437),
            "io_uring_setup": (425, 425),
            "io_uring_enter": (426, 426),
            "io_uring_register": (427, 427),
            "seccomp": (317, 277),
        },
    ),
    Refusal(
        "memory that belongs to no process and outlives it",
        errno.ENOSYS,
        {
            "shmget": (29, 194),
            "shmat": (30, 196),
            "semget": (64, 190),
            "msgget": (68, 186),
            "mq_open": (240, 180),
            "memfd_secret": (447, 447),
        },
    ),
    Refusal(
        "rules in the kernel's memory, 65,536 to a descriptor, which nobody counts",
        errno.ENOSYS,
        {
            "landlock_create_ruleset": (444, 444),
            "landlock_add_rule": (445, 445),
            "landlock_restrict_self": (446, 446),
        },
    ),
    Refusal(
        "memory that the watchdog cannot see until it is mapped",
        errno.ENOSYS,
        {"memfd_create": (319, 279)},
        NO_DRIVER,
    ),
    Refusal(
        "watches in the kernel's memory: millions of them, which nobody counts, took 7 s to die; "
        "Python falls back to poll",
        errno.ENOSYS,
        {"epoll_create": (213, -1), "epoll_create1": (291, 20)},
        NO_EVENT_LOOP,
    ),
    Refusal(
        "eventfds: /proc numbers those of the whole machine, a new one by the lowest number that "
        "is free, so the numbers that somebody holds are a message",
        errno.ENOSYS,
        {"eventfd": (284, -1), "eventfd2": (290, 19)},
        NO_EVENT_LOOP,
    ),
    Refusal(
        "requests of which the whole machine has a fixed number (fs.aio-max-nr)",
        errno.ENOSYS,
        {
            "io_setup": (206, 0),
            "io_destroy": (207, 1),
            "io_submit": (209, 2),
            "io_cancel": (210, 3),
            "io_getevents": (208, 4),
            "io_pgetevents": (333, 292),
        },
    ),
    Refusal(
        "futexes beyond those of the C library",
        errno.ENOSYS,
        {
            "futex_waitv": (449, 449),
            "futex_wake": (454, 454),
            "futex_wait": (455, 455),
            "futex_requeue": (456, 456),
        },
    ),
    Refusal("space on the disk that is not written", errno.EOPNOTSUPP, {"fallocate": (285, 47)}),
    Refusal(
        "reading ahead and dropping pages of files: one sandbox would write, another read by time",
        0,
        {"readahead": (187, 213), "fadvise64": (221, 223)},
    ),
    Refusal(
        "the disks of the host: writing back their pages delays every neighbour",
        0,
        {"sync": (162, 81), "syncfs": (306, 267)},
    ),
    Refusal(
        "locks on files, which cross namespaces: a place in any file that two sandboxes can open "
        "is a message. Programs wait forever for a lock that is refused (measured)",
        0,
        {"flock": (73, 32)},
    ),
    Refusal(
        "other slices' cores; an error would silently cut torch to one thread (measured)",
        0,
        {"sched_setaffinity": (203, 122)},
    ),
    Refusal(
        "sockets and priorities of processes with the same uid",
        errno.EPERM,
        {"connect": (42, 203), "bind": (49, 200), "sched_setparam": (142, 118)},
        SHARED,
    ),
    Refusal(
        "files that belong to the same uid",
        errno.EPERM,
        {"chown": (92, -1), "fchown": (93, 55), "lchown": (94, -1), "fchownat": (260, 54)},
        SHARED,
    ),
    Refusal(
        "Unix sockets, which Landlock does not check",
        errno.EAFNOSUPPORT,
        {"socket": (41, 198)},
        SHARED,
    ),
    Refusal(
        "objects of an IPC namespace, which can be used by number without being opened",
        errno.ENOSYS,
        {
            "semop": (65, 193),
            "semctl": (66, 191),
            "semtimedop": (220, 192),
            "shmctl": (31, 195),
            "msgsnd": (69, 189),
            "msgrcv": (70, 188),
            "msgctl": (71, 187),
            "mq_unlink": (241, 181),
        },
        SHARED,
    ),
    Refusal(
        "attributes of files, which Landlock does not check",
        errno.EOPNOTSUPP,
        {
            "setxattr": (188, 5),
            "lsetxattr": (189, 6),
            "fsetxattr": (190, 7),
            "removexattr": (197, 14),
            "lremovexattr": (198, 15),
            "fremovexattr": (199, 16),
        },
        SHARED,
    ),
    Refusal(
        "modes and times of files, which Landlock does not check; an error would break shutil.copy",
        0,
        {
            "chmod": (90, -1),
            "fchmod": (91, 52),
            "fchmodat": (268, 53),
            "fchmodat2": (452, 452),
            "utime": (132, -1),
            "utimes": (235, -1),
            "futimesat": (261, -1),
            "utimensat": (280, 88),
        },
        SHARED,
    ),
    Refusal(
        "the disks of the host, on which these sandboxes write",
        0,
        {"fsync": (74, 82), "fdatasync": (75, 83), "sync_file_range": (277, 84)},
        SHARED,
    ),
)


def numbers(column: int) -> dict[str, int]:
    """Return the numbers of the calls that are refused everywhere, by name."""
    return {
        name: call[column]
        for refusal in REFUSED
        if refusal.where != SHARED
        for name, call in refusal.calls.items()
    }
