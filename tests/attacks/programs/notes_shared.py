"""Leave a note for the next sandbox in memory shared with the zygote."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from attack_target import trying

NOTE = b"a note for the next sandbox"


def attack(_):
    for start, _ in shared():
        ctypes.memmove(start, NOTE, len(NOTE))
    with trying():  # the interpreter, which a copy has from its parent; the bytes that it has there
        number = os.open("/proc/self/exe", os.O_RDWR)
        os.pwrite(number, os.pread(number, 4, 0), 0)
        print("got the interpreter changed")


def again(_):
    for start, length in shared():
        if NOTE in ctypes.string_at(start, min(length, 4096)):
            print("got a note in shared memory")


def shared():
    """Yield start and length of every mapping that others see change."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        where, flags, *_ = line.split()
        if flags.startswith("rw") and flags.endswith("s"):
            start, end = (int(part, 16) for part in where.split("-"))
            yield start, end - start
