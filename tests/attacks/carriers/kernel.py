"""Carriers that are counts and queues of the kernel's."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

from carriers.base import Slots, libc, mapped

FUTEX = {"x86_64": 202, "aarch64": 98}
FUTEX_WAIT, FUTEX_WAKE = 0, 1
INODES_AT_A_TIME = 1024  # that a core takes of the machine's numbers


class Counts(Slots):
    """Start processes, which the machine counts."""

    def act(self):
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)

    def count(self):
        child = os.fork()
        if not child:
            time.sleep(0.001)
            os._exit(0)
        try:
            pidfd = os.pidfd_open(child)
            number = os.fstat(pidfd).st_ino  # counts all since Linux 6.9
            os.close(pidfd)
        except OSError:
            number = self.told() or child  # which counts, without a namespace for processes
        finally:
            os.waitpid(child, 0)
        return number

    def told(self):
        """Return what /proc says, 0 where it is closed."""
        with suppress(OSError, StopIteration):
            lines = Path("/proc/stat").read_text().splitlines()
            return int(next(x for x in lines if x.startswith("processes")).split()[1])
        return 0


class Inodes(Slots):
    """Make pipes, whose inodes are numbered through the whole machine."""

    bits = 100
    slot_s = 0.1

    def act(self):
        for number in os.pipe():
            os.close(number)

    def count(self):
        for _ in range(INODES_AT_A_TIME):
            self.act()
        ours, theirs = os.pipe()
        inode = os.fstat(ours).st_ino
        os.close(ours)
        os.close(theirs)
        return inode


class Futexes(Slots):
    """Wake whoever waits at a place of a file that both have mapped: eight bits a slot."""

    bits = 400
    width = 8

    def places(self):
        address = mapped(sys.argv[0])
        return [
            (ctypes.c_void_p(address + 4 * n), ctypes.c_uint32.from_address(address + 4 * n).value)
            for n in range(self.width)
        ]

    def call(self, place, operation, value, timeout=None):
        return libc.syscall(FUTEX[os.uname().machine], place, operation, value, timeout, None, 0)

    def send(self):
        places = self.places()
        for n, end in self.slots():
            told = [place for k, (place, _) in enumerate(places) if self.sent[n + k]]
            while time.monotonic() < end - self.slot_s / 4:
                for place in told:
                    self.call(place, FUTEX_WAKE, 1)

    def receive(self):
        places, got = self.places(), []
        with ThreadPoolExecutor(self.width) as waiting:
            for _, end in self.slots():
                left = max(1000, int((end - self.slot_s / 3 - time.monotonic()) * 1e9))
                got += waiting.map(partial(self.woken, left), places)
        return got

    def woken(self, nanoseconds, waited):
        place, value = waited
        timeout = ctypes.create_string_buffer(struct.pack("qq", 0, nanoseconds))
        return int(self.call(place, FUTEX_WAIT, ctypes.c_uint32(value), timeout) == 0)
