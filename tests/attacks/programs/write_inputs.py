"""Change the inputs: by path, by mode, by opening again, by mounting."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from attack_target import deface, libc, trying

MS_REMOUNT, MS_BIND = 32, 4096


def attack(_):
    given = Path(sys.argv[3])
    deface(given)
    with trying():
        given.chmod(0o666)
    libc.mount(b"none", bytes(given.parent), b"", MS_REMOUNT | MS_BIND, b"")
    deface(given)
    with trying():
        number = os.open(given, os.O_RDONLY)
        deface(f"/proc/self/fd/{number}")


def landed(seen):
    return seen.changed("given")
