"""Read what a neighbour can move: counts of the whole machine's processes, load and memory."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from attack_target import libc, trying

FORKS = 3
KNOWN = ("stat", "meminfo", "loadavg", "uptime", "vmstat", "sys/fs/file-nr", "pressure/cpu")


def attack(_):
    before = counts()
    for _ in range(FORKS):  # as a neighbour would
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
    after = counts()
    for name in before.keys() & after.keys():
        if before[name] != after[name]:
            print("got counts of the machine from", name)
    if libc.sysinfo(ctypes.create_string_buffer(256)) == 0:
        print("got counts of the machine from sysinfo")


def counts():
    """Return what /proc says of the machine, by file."""
    found = {}
    for path in paths():
        with trying():
            number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            try:
                found[str(path)] = os.read(number, 1 << 16)
            finally:
                os.close(number)
    return found


def paths():
    """Return the files to read, those too that lie in a folder which cannot be listed."""
    found = {Path("/proc", name) for name in KNOWN}
    for root in ("/proc", "/proc/sys/fs", "/proc/sys/kernel", "/proc/sys/vm"):
        with trying():
            found |= {each for each in Path(root).iterdir() if not each.name.isdigit()}
    return {path for path in found if path.name not in ("self", "thread-self", "kmsg")}
