"""Carriers that are files which both sandboxes see."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import random
import signal
import struct
import sys
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

from carriers.base import HOLD_S, Carrier, fastest, libc, mapped, timed, until

SETLK, GETLK = 37, 36  # of open files
SETLEASE = 1024
PREADV2 = {"x86_64": 327, "aarch64": 286}
RWF_NOWAIT = 8
IN_OPEN = 0x20
EXCLUSIVE = 56  # bit of an entry of pagemap


class Names(Carrier):
    """Look for names that do not exist: the second time is faster."""

    lasts = True
    folder = "/usr/lib" if Path("/usr/lib").is_dir() else "/bin"

    def send(self):
        for n, bit in enumerate(self.sent):
            if bit:
                os.path.exists(f"{self.folder}/{self.seed}-{n}")  # noqa: PTH110  # timed alike

    def receive(self):
        names = [f"{self.folder}/{self.seed}-{n}" for n in range(self.bits)]
        return fastest([timed(os.path.exists, name) for name in names])


class Files(Carrier):
    """Many files that both can read; in a bare sandbox there is one, the script."""

    def __init__(self, seed, begin):
        super().__init__(seed, begin)
        self.paths = self.chosen()

    def chosen(self):
        found = []
        for folder, folders, names in os.walk("/usr/share"):
            folders.sort()
            found += [f"{folder}/{name}" for name in sorted(names)]
        files = [path for path in found if os.path.isfile(path) and os.path.getsize(path)]  # noqa: PTH113, PTH202
        chosen = random.Random(self.seed).sample(files, min(self.bits, len(files)))
        return [*chosen, *[sys.argv[0]] * (self.bits - len(chosen))]

    def wanted(self):
        """Return the paths that stand for a 1."""
        return [path for path, bit in zip(self.paths, self.sent, strict=True) if bit]


class Pages(Files):
    """Read the first pages of files: the second time they are in memory, until they are evicted."""

    lasts = True

    def prepare(self):
        """Evict the pages, as on a machine that was just started."""
        for path in self.paths:
            number = os.open(path, os.O_RDONLY)
            os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(number)

    def read(self, path):
        number = os.open(path, os.O_RDONLY)
        os.read(number, 1)
        os.close(number)

    def send(self):
        for path in self.wanted():
            self.read(path)

    def receive(self):
        return fastest([timed(self.read, path) for path in self.paths])


class Residency(Pages):
    """The same, read without time: a read that does not wait says whether the page is there."""

    def receive(self):
        return [self.cached(path) for path in self.paths]

    def cached(self, path):
        number = os.open(path, os.O_RDONLY)
        buffer = ctypes.create_string_buffer(1)
        parts = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 1)
        call = PREADV2[os.uname().machine]
        got = libc.syscall(call, number, parts, 1, ctypes.c_long(0), ctypes.c_long(0), RWF_NOWAIT)
        os.close(number)
        return int(got == 1)


class Held(Files):
    """Something that the sender holds while the receiver looks."""

    def send(self):
        with ExitStack() as stack:
            self.hold(stack)
            until(self.begin + HOLD_S)

    def receive(self):
        self.listen()
        until(self.begin + HOLD_S / 2)
        return self.look()

    def listen(self):
        """Be told from now on."""


class Mappings(Held):
    """Map the first pages of files: /proc says of a page whether somebody else has mapped it."""

    def hold(self, _):
        for path in self.wanted():
            mapped(path)

    def look(self):
        try:
            about = os.open("/proc/self/pagemap", os.O_RDONLY)
        except OSError:
            return [0] * self.bits
        places = [mapped(path) // mmap.PAGESIZE * 8 for path in self.paths]
        entries = [struct.unpack("Q", os.pread(about, 8, place))[0] for place in places]
        return [1 - (entry >> EXCLUSIVE & 1) for entry in entries]


class Locks(Held):
    """Lock places in a file that both can open."""

    def lock(self, kind, place):
        return struct.pack("hhqqi4x", kind, 0, place, 1, 0)

    def hold(self, stack):
        number = os.open(sys.argv[0], os.O_RDONLY)
        stack.callback(os.close, number)
        for place, bit in enumerate(self.sent):
            if bit:
                fcntl.fcntl(number, SETLK, self.lock(fcntl.F_RDLCK, place))

    def look(self):
        number, got = os.open(sys.argv[0], os.O_RDONLY), []
        for place in range(self.bits):
            asked = ctypes.create_string_buffer(self.lock(fcntl.F_WRLCK, place))
            told = libc.fcntl(number, GETLK, asked) == 0
            got.append(int(told and struct.unpack_from("h", asked)[0] == fcntl.F_RDLCK))
        return got


class Leases(Held):
    """Hold leases on files: who opens one without waiting is refused."""

    def hold(self, stack):
        signal.signal(signal.SIGIO, signal.SIG_IGN)  # the kernel's to who holds a lease: it kills
        for path in self.wanted():
            number = os.open(path, os.O_RDONLY)
            stack.callback(os.close, number)
            libc.fcntl(number, SETLEASE, fcntl.F_WRLCK)

    def look(self):
        return [int(self.refused(path)) for path in self.paths]

    def refused(self, path):
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        except BlockingIOError:
            return True
        return False


class Watches(Held):
    """Open files, of which a watch tells."""

    def hold(self, _):
        until(self.begin)
        for path in self.wanted():
            os.close(os.open(path, os.O_RDONLY))

    def listen(self):
        self.told = libc.inotify_init1(os.O_NONBLOCK)
        add = partial(libc.inotify_add_watch, self.told)
        self.watches = [add(os.fsencode(path), IN_OPEN) for path in self.paths]

    def look(self):
        if self.told < 0:
            return [0] * self.bits
        opened = set()
        with suppress(BlockingIOError):
            opened = {event[0] for event in struct.iter_unpack("iIII", os.read(self.told, 1 << 16))}
        return [int(watch in opened) for watch in self.watches]
