"""Send by locks: whoever can open the same file sees where another holds one."""

from __future__ import annotations

import fcntl
import os
import struct
import sys

from attack_target import libc, trying

F_OFD_SETLK = 37
PLACE = 0x123456789


def attack(_):
    ours, theirs = (os.open(sys.argv[3], os.O_RDONLY) for _ in range(2))
    lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, PLACE, 1, 0)
    ways = {
        "flock": lambda number: fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB),
        "open-file lock": lambda number: fcntl.fcntl(number, F_OFD_SETLK, lock),
    }
    for name, take in ways.items():
        with trying():
            take(ours)
            if name == "flock":
                try:
                    take(theirs)
                except BlockingIOError:
                    print("got a conflict of", name)
            else:
                queried = ctypes_query(theirs)
                if queried:
                    print("got", name, "at", queried)


def ctypes_query(number):
    """Return where another open file holds a lock that excludes ours, 0 for nowhere."""
    import ctypes  # noqa: PLC0415

    asked = ctypes.create_string_buffer(struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0), 32)
    if libc.fcntl(number, 36, asked) < 0:  # F_OFD_GETLK
        return 0
    kind, _, start, *_ = struct.unpack("hhqqi4x", asked.raw)
    return start if kind != fcntl.F_WRLCK else 0
