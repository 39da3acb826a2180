"""Attacks on what belongs to the machine: its kernel, its servers, what a process is given."""

from __future__ import annotations

import ctypes
import os
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .target import Target, done, is_open, opens, text_of

NAMESPACES = {"user": 0x10000000, "mount": 0x20000, "pid": 0x20000000, "network": 0x40000000}
TERMINALS = 64
SESSION_KEYRING = -3
KERNEL = (
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sysrq-trigger",
    "/sys/kernel/uevent_helper",
    "/sys/power/state",
)


def environment(target: Target) -> str:
    """Find variables beyond those that a sandbox is given."""
    more = sorted({*os.environ} - {*target.variables, "LC_CTYPE"})  # Python sets LC_CTYPE itself
    return f"sees {', '.join(more)}" if more else ""


def descriptors(target: Target) -> str:
    """Find open descriptors and write to each."""
    held = [number for number in range(3, 1024) if is_open(number)]
    for number in held:
        with suppress(OSError):
            os.write(number, target.token.encode())
    return f"holds descriptors {held}" if held else ""


def sockets(target: Target) -> str:
    """Reach servers on the host, which observe who came."""
    for family, kind, address, port in target.servers:
        with suppress(OSError), socket.socket(family, kind) as client:
            client.settimeout(1)
            client.connect((address, port) if port else address)
            client.send(b"here")
        if not port:  # one end of a socket pair may send to others
            with suppress(OSError), _closing(*socket.socketpair(family, kind)) as client:
                client.sendto(b"here", address)
    return ""


@contextmanager
def _closing(ours: socket.socket, theirs: socket.socket) -> Iterator[socket.socket]:
    with ours, theirs:
        yield ours


def rings(target: Target) -> str:
    """Make an io_uring, whose requests no system call filter sees."""
    os.close(target.call("io_uring_setup", 1, ctypes.create_string_buffer(120)))
    return "made an io_uring"


def machine(_: Target) -> str:
    """Read counts of the whole machine, which a neighbour can move."""
    paths = ("/proc/stat", "/proc/loadavg", "/proc/sys/fs/file-nr")
    before = [text_of(path) for path in paths]
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    moved = [path for path, text in zip(paths, before, strict=True) if text_of(path) != text]
    if done(lambda: os.close(os.pidfd_open(os.getpid()))):
        moved.append("a pidfd's inode")
    return f"reads {', '.join(moved)}" if moved else ""


def kernel_memory(_: Target) -> str:
    """Hold memory of the kernel's that nobody counts."""
    held = [
        name
        for name, make in (("an epoll", select.epoll), ("a TCP socket", socket.socket))
        if done(make)
    ]
    return f"has {', '.join(held)}" if held else ""


def terminals(_: Target) -> str:
    """Hold so many terminals that others could open none."""
    held: list[int] = []
    with suppress(OSError):
        while len(held) < TERMINALS:
            held.append(os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY))
    for number in held:
        os.close(number)
    return f"holds {TERMINALS} terminals" if len(held) == TERMINALS else ""


def namespaces(target: Target) -> str:
    """Become root of a new namespace."""
    made = [name for name, flag in NAMESPACES.items() if _unshares(target, flag)]
    return f"made {', '.join(made)} namespaces" if made else ""


def _unshares(target: Target, flag: int) -> bool:
    child = os.fork()
    if not child:
        with suppress(OSError):
            target.call("unshare", flag)
            os._exit(0)
        os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def settings(_: Target) -> str:
    """Change the kernel's settings."""
    opened = [path for path in KERNEL if opens(path, os.O_WRONLY)]
    return f"may write {', '.join(opened)}" if opened else ""


def privileges(_: Target) -> str:
    """Be root, hold a capability, or be able to gain one."""
    lines = Path("/proc/self/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    wrong = [f"{name} {status[name]}" for name in ("CapEff", "CapPrm") if int(status[name], 16)]
    wrong += [f"{name} is 0" for name in ("NoNewPrivs", "Seccomp") if status[name] == "0"]
    wrong += ["is uid 0"] if os.getuid() == 0 else []
    return ", ".join(wrong)


def clock(target: Target) -> str:
    """Set the clock with no values: only privileged callers get success."""
    target.call("settimeofday", 0, 0)
    return "may set the clock"


def keys(target: Target) -> str:
    """Use the kernel's keys, which belong to users rather than sandboxes."""
    target.call("keyctl", 0, SESSION_KEYRING, 0)
    return "holds a keyring"


def faults(target: Target) -> str:
    """Handle page faults, the usual help to attacks on the kernel."""
    os.close(target.call("userfaultfd", 1))
    return "handles page faults"
