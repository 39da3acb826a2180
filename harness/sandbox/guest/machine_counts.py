"""Hides what a sandbox's /proc and /sys say of the whole machine, and limits its terminals.

Processes started, load, free memory, interrupts, open files: a neighbour can move these numbers, so
they would carry messages. A process that is still outside, with the rights that made the sandbox,
mounts something over them; bubblewrap takes 0.6 ms for each such mount, this 0.03 (measured).
Of pseudoterminals the machine has a number (kernel.pty.max): one sandbox could have them all.

Not covered: /sys, which CUDA slices see whole; what /proc says of the sandbox's own processes, such
as how often they waited for the disk; where a sandbox is not bare, the number of a session's group
(`autogroup`), which counts all sessions of the machine.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

from .limits import libc, must

CONSTANT = ("cpuinfo", "filesystems", "version", "cmdline", "devices", "modules", "driver")
OWN = ("self", "thread-self", "mounts", "net")  # links to what is the sandbox's
MEMORY_LINES = ("MemTotal", "MemFree", "MemAvailable")
SETTINGS = ("vm/overcommit_memory", "vm/mmap_min_addr", "kernel/osrelease", "kernel/cap_last_cap")
CPUS = "/sys/devices/system/cpu"
CPU_COUNTS = ("cpuidle", "cpufreq", "thermal_throttle")  # folders of each core
TERMINALS = "newinstance,ptmxmode=0666,mode=620,max=16"
LOADAVG = "0.00 0.00 0.00 1/1 1\n"

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096
CLOSED = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC
CLONE_NEWNS = 0x20000
CLONE_NEWUSER = 0x10000000
NS_GET_USERNS = 0xB701


def hide(init: int, host_pid: int, *, own: bool) -> None:
    """Enter the mount namespace of the sandbox's first process; cover its /proc and /sys.

    `init` is a pidfd of that process; `own` says that a user namespace owns its mounts. Raises
    OSError where a mount is refused.
    """
    memory, settings = total_memory(), [(name, read(f"/proc/sys/{name}")) for name in SETTINGS]
    if own:
        space = os.open(f"/proc/{host_pid}/ns/mnt", os.O_RDONLY)
        owner = fcntl.ioctl(space, NS_GET_USERNS)
        must(libc.setns(owner, CLONE_NEWUSER), "setns to the mounts' owner")
        os.close(owner)
        os.close(space)
    must(libc.setns(init, CLONE_NEWNS), "setns")
    cover_settings(settings, memory)
    limited = MS_REMOUNT | MS_NOSUID | MS_NOEXEC
    mount("devpts", "/dev/pts", b"devpts", limited, TERMINALS.encode())
    kept = {*CONSTANT, *OWN, "sys", "meminfo", "loadavg"}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() and entry.name not in kept:
            cover(entry.path, folder=entry.is_dir(follow_symlinks=False))
    for core in os.scandir(CPUS) if os.path.isdir(CPUS) else ():  # noqa: PTH112
        for name in CPU_COUNTS:
            if os.path.isdir(f"{core.path}/{name}"):  # noqa: PTH112  # pathlib takes 10 ms
                cover(f"{core.path}/{name}", folder=True)


def cover_settings(settings: list[tuple[str, str]], memory: str) -> None:
    """Replace /proc/sys, meminfo and loadavg by files that never change."""
    mount("tmpfs", "/proc/sys", b"tmpfs", 0, b"mode=755,size=64k")
    for name, text in settings:
        os.makedirs(os.path.dirname(f"/proc/sys/{name}"), exist_ok=True)  # noqa: PTH103, PTH120
        write(f"/proc/sys/{name}", text)
    for name, text in (("meminfo", memory), ("loadavg", LOADAVG)):
        write(f"/proc/sys/{name}", text)
        mount(f"/proc/sys/{name}", f"/proc/{name}", b"", MS_BIND)
        mount("", f"/proc/{name}", b"", CLOSED)
        os.unlink(f"/proc/sys/{name}")  # noqa: PTH108
    mount("", "/proc/sys", b"", CLOSED)


def cover(path: str, *, folder: bool) -> None:
    """Mount an empty folder, or /dev/null, over `path`."""
    if folder:
        mount("tmpfs", path, b"tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, b"size=4k")
    else:
        mount("/dev/null", path, b"", MS_BIND)


def mount(source: str, target: str, kind: bytes, flags: int, options: bytes = b"") -> None:
    """Mount `source` at `target`."""
    done = libc.mount(source.encode(), target.encode(), kind, flags, options)
    must(done, f"a mount at {target}")


def total_memory() -> str:
    """Return a /proc/meminfo that says how much memory the machine has, all of it free."""
    total = next((line for line in read("/proc/meminfo").splitlines() if "MemTotal" in line), "")
    return "".join(f"{total.replace('MemTotal', name)}\n" for name in MEMORY_LINES)


def read(path: str) -> str:
    """Return what a file says, "" where there is none."""
    with suppress(OSError), open(path) as file:  # noqa: PTH123
        return file.read()
    return ""


def write(path: str, text: str) -> None:
    """Write a file."""
    with open(path, "w") as file:  # noqa: PTH123
        file.write(text)
