"""The system call filter of a sandbox, as a seccomp program in classic BPF.

Refused is everything that would change the machine, look into another process, make a namespace,
tell another sandbox something, or hold memory where the watchdog cannot see it: the tables are
`system_calls` and `call_arguments`. A call unknown to this file does not exist (ENOSYS), so what a
newer kernel adds is refused. The layout is that of linux/seccomp.h: system call number at byte 0,
architecture at 4, arguments of 8 bytes from 16.

A Landlock sandbox shares the host's namespaces and, for a plain user, our own uid. It is refused
more: what namespaces and read-only mounts would prevent otherwise, and what Landlock does not
check. There the supervisor is asked before each fork.

Not covered: this lists what is refused, not what is needed, so a hole in an ordinary system call
stays reachable. memfd_create is open to the driver on CUDA slices; memory hidden there is seen only
once it is mapped. epoll is open there and to the user's own commands, and millions of watches take
seconds to die.
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
from harness.sandbox.backends.call_arguments import (
    CLONE,
    FORKS,
    REFUSED_ARGUMENTS,
    SETPRIORITY,
    UNSHARE,
    ArgumentRefusal,
)
from harness.sandbox.backends.system_calls import (
    NO_DRIVER,
    NO_EVENT_LOOP,
    NO_SOCKETS,
    REFUSED,
    SHARED,
    SOCKETS,
    Where,
)

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
CLONE_PIDFD: Final = 0x1000
NEW_TIME: Final = 0x80  # CLONE_NEWTIME; in clone these bits are the exit signal
LAST_KNOWN: Final = 462  # mseal, the last call known to this file


@dataclass(frozen=True, slots=True)
class Machine:
    """An architecture: AUDIT_ARCH of linux/audit.h, and its column in the table."""

    audit: int
    column: int


MACHINES: Final = {"x86_64": Machine(0xC000003E, 0), "aarch64": Machine(0xC00000B7, 1)}


@cache
def program(
    *, driver: bool, shared: bool = False, event_loop: bool = False, machine: str = ""
) -> bytes:
    """Return the filter for this machine (or `machine`); `driver` admits what CUDA's driver needs.

    `event_loop` admits epoll and TCP, without which Node.js does not start. `shared` is for
    sandboxes in the host's namespaces; that filter needs a listener. Raises SetupError on an
    unknown architecture.
    """
    name = machine or platform.machine()
    architecture = MACHINES.get(name)
    if architecture is None:
        raise SetupError(f"sandboxes need one of {', '.join(MACHINES)}, and this is {name}")
    column = architecture.column
    absent: set[Where] = {NO_DRIVER, NO_EVENT_LOOP} if driver else set()
    absent |= {NO_EVENT_LOOP, NO_SOCKETS} if event_loop else {SOCKETS}
    absent |= set() if shared else {SHARED}
    lines = [_load(4), *_unless(EQUAL, architecture.audit, KILL), _load(0)]
    lines += _if(AT_LEAST, LAST_KNOWN + 1, ERRNO | errno.ENOSYS)
    for refusal in (each for each in REFUSED if each.where not in absent):
        known = (call[column] for call in refusal.calls.values() if call[column] >= 0)
        lines += [line for call in known for line in _if(EQUAL, call, ERRNO | refusal.error)]
    lines += _limited(column) if shared else []
    for rule in REFUSED_ARGUMENTS:
        if rule.where not in absent:
            lines += _argument(rule.call[column], rule.argument, _choice(rule))
    lines += _flags(CLONE[column], NEW_NAMESPACE | CLONE_PIDFD, ASK if shared else ALLOW)
    lines += _flags(UNSHARE[column], NEW_NAMESPACE | NEW_TIME, ALLOW)
    return b"".join([*lines, _line(RETURN, ALLOW)])


def _limited(column: int) -> list[bytes]:
    """Return lines that ask before each fork and limit priorities to one's own."""
    forks = [call[column] for call in FORKS.values() if call[column] >= 0]
    lines = [line for call in forks for line in _if(EQUAL, call, ASK)]
    myself = [*_unless(EQUAL, 0, ERRNO | errno.EPERM), _line(RETURN, ALLOW)]
    one_process = _unless(EQUAL, 0, ERRNO | errno.EPERM)  # neither a group nor a user
    return lines + _argument(SETPRIORITY[column], 0, [*one_process, _load(16 + 8), *myself])


def _choice(rule: ArgumentRefusal) -> list[bytes]:
    """Return lines that answer by the value loaded, or load the call's number again."""
    tests = [
        line
        for error, values in rule.answers.items()
        for value in values
        for line in _if(EQUAL, value, ERRNO | error)
    ]
    if rule.otherwise is None:
        return [*tests, _load(0)]
    tests += [line for value in rule.admitted for line in _if(EQUAL, value, ALLOW)]
    return [*tests, _line(RETURN, ERRNO | rule.otherwise)]


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
    """Return lines that apply `lines` to the low half of an argument of `call`.

    They end in a return, or load the call's number again for the tests that follow.
    """
    return [_line(EQUAL, call, 0, 1 + len(lines)), _load(16 + 8 * index), *lines]


def _flags(call: int, refused: int, otherwise: int) -> list[bytes]:
    lines = [*_if(ANY_BIT, refused, ERRNO | errno.EPERM), _line(RETURN, otherwise)]
    return _argument(call, 0, lines)
