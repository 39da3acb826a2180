"""Write and read by the page cache: evict a page of a shared file, and see whether one is there."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import resource
import struct
import sys

from attack_target import trying

RWF_NOWAIT, MADV_PAGEOUT, MADV_COLD, MADV_MERGEABLE = 8, 21, 20, 12
PAGE = mmap.PAGESIZE
EXT4_GETSTATE, EXT4_GET_ES_CACHE = 0x80046629, 0xC020662A


def attack(target):
    number = os.open(os.__file__, os.O_RDONLY)
    private = mmap.mmap(-1, PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(private))
    with trying():
        buffer = ctypes.create_string_buffer(8)
        parts = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
        target.call("preadv2", number, parts, 1, 0, 0, RWF_NOWAIT)
        print("got whether a page is cached")
    with trying():
        target.call("mincore", address, PAGE, ctypes.create_string_buffer(1))
        print("got mincore")
    with trying():
        out = ctypes.create_string_buffer(40)
        target.call("cachestat", number, ctypes.create_string_buffer(16), out, 0)
        print("got cachestat")
    for request, asked in (
        (EXT4_GETSTATE, bytes(4)),
        (EXT4_GET_ES_CACHE, struct.pack("QQIIII", 0, 1 << 62, 0, 0, 0, 0)),
    ):
        with trying():
            fcntl.ioctl(number, request, asked)
            print("got what was looked up of a file")
    for advice in (MADV_PAGEOUT, MADV_COLD, MADV_MERGEABLE):
        with trying():
            target.call("madvise", address, PAGE, advice)
            print("got advice", advice)
    with trying():
        given = os.open(sys.argv[3], os.O_RDONLY)
        before = reads(given)
        os.posix_fadvise(given, 0, 0, os.POSIX_FADV_DONTNEED)
        if reads(given) > before:
            print("got a page evicted")


def reads(number):
    """Return how often this process has waited for the disk after reading a file's first page."""
    os.pread(number, PAGE, 0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_inblock
