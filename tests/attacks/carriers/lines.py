"""Carriers that are the lines of the processor's caches."""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import sys
import time
from functools import partial
from pathlib import Path

from carriers.base import Carrier, fastest, mapped, until

CODE = {
    # send(line, bits, count, start, slot): load the line all through the slots of a 1
    "send": "4989d34989c94531d20f3148c1e2204809d04839c872f24d01c142803c160074028b070f3148c1e2"
    "204809d04c39c872e949ffc24d39da72dec3",
    # receive(line, out, count, start, slot): evict the line, wait for half a slot, time a load
    "receive": "4989d34989c94d8d1049c1ea024d01ca0f3148c1e2204809d04c39d072f20fae3f0faef04f8d1440"
    "49c1ea024d01ca0f3148c1e2204809d04c39d072f2e80f00000089064883c6044d01c149ffcb75b6c3",
    # probe(line): return the ticks of a load
    "probe": "0faef00faee80f310faee84189c28b070faee80f314429d0c3",
    "flush": "0fae3f0faef0c3",
    "ticks": "0f3148c1e2204809d0c3",
}
"""Machine code of x86-64, which a genome can run as well: Python cannot evict a line of a cache."""


class Machine:
    """CODE, to be called."""

    def __init__(self):
        if os.uname().machine != "x86_64":
            raise OSError("no code for this machine")
        self.room = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self.room.write(bytes.fromhex("".join(CODE.values())))
        at = ctypes.addressof(ctypes.c_char.from_buffer(self.room))
        for name, code in CODE.items():
            wide = [ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_uint64] * 3]
            setattr(self, name, ctypes.CFUNCTYPE(ctypes.c_uint64, *wide)(at))
            at += len(code) // 2


class Lines(Carrier):
    """Load a line of a file that both have mapped, 200,000 times a second: then it is cached."""

    bits = 10_000
    slot_s = 5e-6

    def spans(self):
        """Return the line's address, the tick of the first slot, and a slot's ticks."""
        self.machine, line = Machine(), mapped(sys.argv[0])
        ticks = partial(self.machine.ticks, 0, 0, 0, 0, 0)
        until(self.begin - 0.2)
        first, at = ticks(), time.perf_counter()
        until(self.begin - 0.02)
        last, now = ticks(), time.perf_counter()
        rate = (last - first) / (now - at)
        start = ticks() + int((self.begin - time.monotonic()) * rate)
        return line, start, int(self.slot_s * rate)

    def send(self):
        line, start, slot = self.spans()
        self.machine.send(line, bytes(self.sent), self.bits, start, slot)

    def receive(self):
        line, start, slot = self.spans()
        took = (ctypes.c_uint32 * self.bits)()
        self.machine.receive(line, ctypes.addressof(took), self.bits, start, slot)
        return fastest([*took])


class LinesLeft(Carrier):
    """Load lines of a library that both have mapped: they stay cached until others take the place.

    The receiver is another sandbox, started when the sender is dead.
    """

    lasts = True

    def lines(self):
        spans = {}
        for line in Path("/proc/self/maps").read_text().splitlines():
            span, mode, _, _, _, *path = line.split()
            if path and path[0].startswith("/") and mode.startswith("r-") and ".so" in path[0]:
                start, end = (int(part, 16) for part in span.split("-"))
                spans[end - start, path[0]] = start
        (size, _), start = max(spans.items())
        step = max(1, size // mmap.PAGESIZE // self.bits) * mmap.PAGESIZE
        places = [start + n * step % size + 64 * (n % 61) for n in range(self.bits)]
        random.Random(self.seed).shuffle(places)
        return places

    def send(self):
        machine = Machine()
        for place, bit in zip(self.lines(), self.sent, strict=True):
            machine.probe(place, 0, 0, 0, 0)  # so that the page is mapped
            machine.flush(place, 0, 0, 0, 0)
            if bit:
                machine.probe(place, 0, 0, 0, 0)

    def receive(self):
        machine = Machine()
        return fastest([machine.probe(place, 0, 0, 0, 0) for place in self.lines()])
