"""Attacks on processes: others', its holders, and its own beyond their limits."""

from __future__ import annotations

import os
import resource
import signal
import time
from contextlib import suppress
from pathlib import Path

from .target import MIB, Target, opens, stay

PTRACE_SEIZE = 0x4206
HELD_MIB = 256


def processes(target: Target) -> str:
    """Find a process of the host by its environment, and kill it."""
    with suppress(OSError):
        os.kill(target.pid, signal.SIGTERM)
    mine = str(os.getpid())
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and process.name != mine:
            with suppress(OSError):
                if target.token.encode() in (process / "environ").read_bytes():
                    return f"read the environment of process {process.name}"
    return ""


def limits(target: Target) -> str:
    """Change the limits of a process of the host."""
    resource.prlimit(target.pid, resource.RLIMIT_CORE, (0, 0))
    return "changed the limits of another"


def holders(_: Target) -> str:
    """Write to the memory of the sandbox's other processes, or find one that is less limited."""
    wrong = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            if opens(str(process / "mem"), os.O_RDWR):
                wrong.append(f"writes to process {process.name}")
            with suppress(OSError):
                files = resource.prlimit(int(process.name), resource.RLIMIT_NOFILE)[1]
                if files > resource.getrlimit(resource.RLIMIT_NOFILE)[1]:
                    wrong.append(f"process {process.name} may open {files} files")
    return ", ".join(wrong[:3])


def tracing(target: Target) -> str:
    """Trace another process."""
    child = os.fork()
    if not child:
        stay()
    try:
        target.call("ptrace", PTRACE_SEIZE, child, 0, 0)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return "traced another process"


def cores(target: Target) -> str:
    """Run on cores of other slices."""
    with suppress(OSError):
        os.sched_setaffinity(0, target.cores)
    more = sorted(os.sched_getaffinity(0) - {*target.lease})
    return f"runs on cores {more} too" if more else ""


def priority(_: Target) -> str:
    """Raise this process's priority."""
    os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) - 1)
    return "raised its priority"


def forks(target: Target) -> str:
    """Start more processes than allowed, each a daemon that outlives this one."""
    for _ in range(target.forks):
        if not os.fork():
            stay()
    return f"started {target.forks} processes"


def memory(_: Target) -> str:
    """Hold more memory than is allowed."""
    held = [b"x" * MIB for _ in range(HELD_MIB)]
    time.sleep(60)
    return f"held {len(held)} MiB"


def deadline(_: Target) -> str:
    """Outlive the deadline in a session of its own."""
    if not os.fork():
        stay()
    time.sleep(60)
    return "lived a minute"
