"""The system calls that a sandbox's filter answers for some of their arguments, in one table.

See `harness.sandbox.backends.system_calls` for calls that are always answered, and for what neither
table covers.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from harness.sandbox.backends.system_calls import (
    EVERYWHERE,
    NO_SOCKETS,
    SHARED,
    SOCKETS,
    Call,
    Where,
)


@dataclass(frozen=True, slots=True)
class ArgumentRefusal:
    """A call that is answered for some values of an argument, by number or by error.

    reason: what it would reach with these
    call: its number
    argument: the argument's place, from 0
    answers: the values by the error that answers them; 0: reported as done, without effect
    otherwise: the answer for every value that is not in `admitted`; None: the call is made
    """

    reason: str
    call: Call
    argument: int
    answers: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    otherwise: int | None = None
    admitted: tuple[int, ...] = ()
    where: Where = EVERYWHERE


FORKS: Final[dict[str, Call]] = {"fork": (57, -1), "vfork": (58, -1)}  # and clone
CLONE: Final = (56, 220)
UNSHARE: Final = (272, 97)
SOCKET: Final = (41, 198)
IOCTL: Final = (16, 29)
SOCKETPAIR: Final = (53, 199)
SETPRIORITY: Final = (141, 140)
PRLIMIT: Final = (302, 261)

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
# file attributes: flags, project, version, verity, encryption
FILE_IOCTLS = (0x40086602, 0x401C5820, 0x40087602, 0x40086604, 0x40806685, 0x800C6613)
# EXT4_IOC_GET_ES_CACHE, GETSTATE, CLEAR_ES_CACHE, PRECACHE_EXTENTS
EXTENT_IOCTLS = (0xC020662A, 0x80046629, 0x6628, 0x6612)
SO_SNDBUF, SO_RCVBUF, SO_COOKIE, SO_PASSPIDFD, SO_PEERPIDFD = 7, 8, 57, 76, 77
PR_SET_DUMPABLE, PR_SET_MEMORY_MERGE = 4, 67

REFUSED_ARGUMENTS: Final = (
    ArgumentRefusal(
        "whoever ignores SIGCHLD has its children's CPU time forgotten, which would then count as "
        "taken by others and lengthen its budget (monitor.cpu). Node.js learns by SIGCHLD that a "
        "child has ended, and waits for ever where this is refused",
        (13, 134),  # rt_sigaction
        0,
        {0: (17,)},  # SIGCHLD
        where=NO_SOCKETS,
    ),
    ArgumentRefusal(
        "record and open-file locks (F_SETLK and the like) say 62 bits by their place; queries "
        "(F_GETLK) read them",
        (72, 25),  # fcntl
        1,
        {0: (6, 7, 37, 38), errno.EINVAL: (5, 36)},
    ),
    ArgumentRefusal(
        "leases delay whoever opens the file by 45 s; F_NOTIFY hears of it; seals bind the "
        "harness; write hints stay with the file; a user's pipes share a number of pages",
        (72, 25),  # fcntl
        1,
        # F_SETLEASE, F_GETLEASE, F_NOTIFY, F_ADD_SEALS, F_[GS]ET(_FILE)_RW_HINT, F_SETPIPE_SZ
        {errno.EPERM: (1024, 1025, 1026, 1033, 1035, 1036, 1037, 1038, 1031)},
    ),
    ArgumentRefusal(
        "advice on memory beyond private pages: it fetches and evicts pages of shared files, and "
        "merges equal pages of neighbours. MADV_WILLNEED is reported as done",
        (28, 233),  # madvise
        2,
        {0: (3,)},
        errno.EINVAL,
        # NORMAL, RANDOM, SEQUENTIAL, DONTNEED, FREE, (DONT|DO)FORK, (NO)HUGEPAGE, (DONT|DO)DUMP,
        # (WIPE|KEEP)ONFORK
        (0, 1, 2, 4, 8, 10, 11, 14, 15, 16, 17, 18, 19),
    ),
    ArgumentRefusal(
        "flags that tell whether a page is cached (RWF_NOWAIT) or evict it (RWF_DONTCACHE)",
        (327, 286),  # preadv2
        5,
        otherwise=errno.EOPNOTSUPP,
        admitted=(0,),
    ),
    ArgumentRefusal(
        "the same flags",
        (328, 287),  # pwritev2
        5,
        otherwise=errno.EOPNOTSUPP,
        admitted=(0,),
    ),
    ArgumentRefusal(
        "merging of equal pages, by which a neighbour's page can be guessed",
        (157, 167),  # prctl
        0,
        {errno.EPERM: (PR_SET_MEMORY_MERGE,)},
    ),
    ArgumentRefusal(
        "the watchdog cannot measure a process that is not dumpable",
        (157, 167),  # prctl
        0,
        {errno.EPERM: (PR_SET_DUMPABLE,)},
        where=SHARED,
    ),
    ArgumentRefusal(
        "networks: TCP's memory is the machine's and counted for nobody",
        SOCKET,
        0,
        otherwise=errno.EAFNOSUPPORT,
        admitted=(AF_UNIX,),
        where=NO_SOCKETS,
    ),
    ArgumentRefusal(
        "networks other than the loopback of a sandbox's own, which benchmarks of servers need",
        SOCKET,
        0,
        otherwise=errno.EAFNOSUPPORT,
        admitted=(AF_UNIX, AF_INET, AF_INET6, AF_NETLINK),
        where=SOCKETS,
    ),
    ArgumentRefusal(
        "typing into the terminal of the harness", IOCTL, 1, {errno.EPERM: (TIOCSTI, TIOCLINUX)}
    ),
    ArgumentRefusal(
        "which parts of a file ext4 has looked up since it was opened, by anybody",
        IOCTL,
        1,
        {errno.ENOTTY: EXTENT_IOCTLS},
    ),
    ArgumentRefusal(
        "the pidfd of a socket's peer", (55, 209), 2, {errno.ENOPROTOOPT: (SO_PEERPIDFD,)}
    ),
    ArgumentRefusal(
        "the cookie of a socket, which counts those of the whole machine",
        (55, 209),  # getsockopt
        2,
        {errno.ENOPROTOOPT: (SO_COOKIE,)},
        where=NO_SOCKETS,
    ),
    ArgumentRefusal(
        "larger buffers of sockets than the usual, by which the watchdog counts them",
        (54, 208),  # setsockopt
        2,
        {0: (SO_SNDBUF, SO_RCVBUF)},
        where=NO_SOCKETS,
    ),
    ArgumentRefusal("pidfds with messages", (54, 208), 2, {errno.ENOPROTOOPT: (SO_PASSPIDFD,)}),
    ArgumentRefusal(
        "attributes of files that belong to the same uid",
        IOCTL,
        1,
        {errno.EPERM: FILE_IOCTLS},
        where=SHARED,
    ),
    ArgumentRefusal(
        "a pair of datagram sockets could send to any Unix socket",
        SOCKETPAIR,
        1,
        otherwise=errno.EAFNOSUPPORT,
        admitted=tuple(1 | close | wait for close in (0, 0x80000) for wait in (0, 0x800)),
        where=SHARED,
    ),
    ArgumentRefusal(
        "limits of other processes of the same uid",
        PRLIMIT,
        0,
        otherwise=errno.EPERM,
        admitted=(0,),
        where=SHARED,
    ),
)
