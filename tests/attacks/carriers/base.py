"""A way to send bits between sandboxes, and what the ways have in common."""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import time

HOLD_S = 2.0

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p


def until(when):
    """Wait for a time, without sleeping just before it."""
    time.sleep(max(0.0, when - time.monotonic() - 0.001))
    while time.monotonic() < when:
        pass


def fastest(took):
    """Return a 1 for each of the faster half."""
    middle = sorted(took)[len(took) // 2]
    return [int(each < middle) for each in took]


def timed(act, *args):
    at = time.perf_counter_ns()
    act(*args)
    return time.perf_counter_ns() - at


def mapped(path):
    """Return the address of a file's first page, mapped shared and touched."""
    number = os.open(path, os.O_RDONLY)
    address = libc.mmap(None, mmap.PAGESIZE, mmap.PROT_READ, mmap.MAP_SHARED, number, 0)
    os.close(number)
    _ = ctypes.c_char.from_address(address).value
    return address


class Carrier:
    """A way to send bits.

    lasts: whether what is sent can be read when the sender is dead
    bits: how many are sent
    """

    lasts = False
    bits = 400

    def __init__(self, seed, begin):
        source = random.Random(seed)
        self.sent = [source.getrandbits(1) for _ in range(self.bits)]
        self.seed, self.begin = seed, begin

    def prepare(self):
        """Put the host into a state that can be written on, before both are started."""


class Slots(Carrier):
    """Something that the sender does in slots of time, eight bits of which may be sent at once."""

    bits = 200
    width = 1
    slot_s = 0.02

    def slots(self):
        """Yield the number of each slot's first bit, and the slot's end, while it lasts."""
        for n in range(self.bits // self.width):
            until(self.begin + n * self.slot_s)
            yield n * self.width, self.begin + (n + 1) * self.slot_s

    def send(self):
        for n, end in self.slots():
            while self.sent[n] and time.monotonic() < end - self.slot_s / 4:
                self.act()

    def receive(self):
        seen, before = [], self.count()
        for _, end in self.slots():
            until(end - self.slot_s / 4)
            now = self.count()
            seen.append(before - now)  # below zero
            before = now
        return fastest(seen)
