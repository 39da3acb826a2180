"""Hold a lease on a file, which delays who opens it; hear of a folder; leave a hint with a file."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import tempfile

from attack_target import trying

F_NOTIFY, DN_ACCESS_AND_ALL = 1026, 0x8000003F
F_SET_RW_HINT, F_ADD_SEALS = 1036, 1033


def attack(target):
    with tempfile.NamedTemporaryFile() as file:
        with trying():
            signal.signal(signal.SIGIO, signal.SIG_IGN)
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            print("got a lease")
        with trying():
            fcntl.fcntl(file, F_SET_RW_HINT, struct.pack("Q", 2))
            print("got a hint kept")
    for path in ("/usr/lib", os.path.dirname(target.folder), "/"):  # noqa: PTH120
        with trying():
            number = os.open(path, os.O_RDONLY)
            fcntl.fcntl(number, F_NOTIFY, DN_ACCESS_AND_ALL - (1 << 32))
            print("got news of", path)
