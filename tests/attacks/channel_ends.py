"""The two ends of a channel between sandboxes: `channel_ends.py ROLE CARRIER SEED BEGIN`.

BEGIN is a time of time.monotonic(). A receiver prints the bits that it read and the seconds that
it took; the sender's are those of random.Random(SEED).
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import random
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

BITS, SLOT_S = 400, 0.02
SETLK, GETLK = 37, 36  # of open files
FUTEX = {"x86_64": 202, "aarch64": 98}
FUTEX_WAIT, FUTEX_WAKE = 0, 1

EXCLUSIVE = 56  # bit of an entry of pagemap

libc = ctypes.CDLL(None, use_errno=True)


def bits(seed):
    source = random.Random(seed)
    return [source.getrandbits(1) for _ in range(BITS)]


def slots(begin, width=1):
    """Yield the number of each slot's first bit, and the slot's end, while it lasts."""
    for n in range(BITS // width):
        while time.monotonic() < begin + n * SLOT_S:
            pass
        yield n * width, begin + (n + 1) * SLOT_S


class Names:
    """Look for names that do not exist: the second time is faster."""

    folder = "/usr/lib" if Path("/usr/lib").is_dir() else "/bin"

    def send(self, sent, seed, begin):
        while time.monotonic() < begin:
            pass
        for n in range(BITS):
            if sent[n]:
                os.path.exists(f"{self.folder}/{seed}-{n}")  # noqa: PTH110  # timed alike below

    def receive(self, seed, begin):
        time.sleep(max(0.0, begin + 0.5 - time.monotonic()))
        took = []
        for n in range(BITS):
            name, at = f"{self.folder}/{seed}-{n}", time.perf_counter_ns()
            os.path.exists(name)  # noqa: PTH110  # pathlib takes longer than a lookup
            took.append(time.perf_counter_ns() - at)
        ranked = sorted(took)
        return [int(each < ranked[BITS // 2]) for each in took]


class Pages:
    """Read the first pages of files: the second time they are in memory, until they are evicted."""

    def paths(self, seed):
        """Return files that both can read; in a bare sandbox its script is the only one."""
        found = []
        for folder, folders, names in os.walk("/usr/share"):
            folders.sort()
            found += [f"{folder}/{name}" for name in sorted(names)]
        files = [path for path in found if os.path.isfile(path) and os.path.getsize(path)]  # noqa: PTH113, PTH202
        chosen = random.Random(seed).sample(files, min(BITS, len(files)))
        return [*chosen, *[sys.argv[0]] * (BITS - len(chosen))]

    def prepare(self, seed):
        """Evict the pages, before both are started, as on a machine that was just started."""
        for path in self.paths(seed):
            number = os.open(path, os.O_RDONLY)
            os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(number)

    def read(self, path):
        at = time.perf_counter_ns()
        number = os.open(path, os.O_RDONLY)
        os.read(number, 1)
        os.close(number)
        return time.perf_counter_ns() - at

    def send(self, sent, seed, begin):
        paths = self.paths(seed)
        time.sleep(max(0.0, begin - time.monotonic()))
        for path, bit in zip(paths, sent, strict=True):
            if bit:
                self.read(path)

    def receive(self, seed, begin):
        paths = self.paths(seed)
        time.sleep(max(0.0, begin + 0.5 - time.monotonic()))
        took = [self.read(path) for path in paths]
        ranked = sorted(took)
        return [int(each < ranked[BITS // 2]) for each in took]


class Mappings(Pages):
    """Map the first pages of files: /proc says of a page whether somebody else has mapped it."""

    def prepare(self, seed):
        """Nothing is left of mappings."""

    def mapped(self, path):
        number = os.open(path, os.O_RDONLY)
        libc.mmap.restype = ctypes.c_void_p
        address = libc.mmap(None, mmap.PAGESIZE, mmap.PROT_READ, mmap.MAP_SHARED, number, 0)
        os.close(number)
        _ = ctypes.c_char.from_address(address).value
        return address

    def send(self, sent, seed, begin):
        paths = self.paths(seed)
        time.sleep(max(0.0, begin - time.monotonic()))
        for path, bit in zip(paths, sent, strict=True):
            if bit:
                self.mapped(path)
        time.sleep(2)

    def receive(self, seed, begin):
        paths = self.paths(seed)
        time.sleep(max(0.0, begin + 0.5 - time.monotonic()))
        try:
            about = os.open("/proc/self/pagemap", os.O_RDONLY)
        except OSError:
            return [0] * BITS
        places = [self.mapped(path) // mmap.PAGESIZE * 8 for path in paths]
        entries = [struct.unpack("Q", os.pread(about, 8, place))[0] for place in places]
        return [1 - (entry >> EXCLUSIVE & 1) for entry in entries]


class Locks:
    """Lock a place in a file that both can open."""

    def file(self):
        return os.open(sys.argv[0], os.O_RDONLY)

    def send(self, sent, seed, begin):
        number = self.file()
        for n, _ in slots(begin):
            lock = fcntl.F_RDLCK if sent[n] else fcntl.F_UNLCK
            fcntl.fcntl(number, SETLK, struct.pack("hhqqi4x", lock, 0, 0, 1, 0))

    def receive(self, seed, begin):
        number, got = self.file(), []
        for _, end in slots(begin):
            time.sleep(max(0.0, end - SLOT_S / 2 - time.monotonic()))
            asked = ctypes.create_string_buffer(struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 1, 0))
            held = libc.fcntl(number, GETLK, asked) == 0
            got.append(int(held and struct.unpack_from("h", asked)[0] == fcntl.F_RDLCK))
        return got


class Counts:
    """Start processes, which the machine counts."""

    def send(self, sent, seed, begin):
        for n, end in slots(begin):
            while sent[n] and time.monotonic() < end - SLOT_S / 4:
                child = os.fork()
                if not child:
                    os._exit(0)
                os.waitpid(child, 0)

    def count(self):
        try:
            lines = Path("/proc/stat").read_text().splitlines()
        except OSError:
            return 0
        return int(next((line for line in lines if line.startswith("processes")), "x 0").split()[1])

    def receive(self, seed, begin):
        got, before = [], self.count()
        for _, end in slots(begin):
            time.sleep(max(0.0, end - SLOT_S / 10 - time.monotonic()))
            now = self.count()
            got.append(int(now - before > 1))
            before = now
        return got


class Futexes:
    """Wake whoever waits at a place of a file that both have mapped: eight bits a slot."""

    width = 8

    def places(self):
        number = os.open(sys.argv[0], os.O_RDONLY)
        libc.mmap.restype = ctypes.c_void_p
        address = libc.mmap(None, mmap.PAGESIZE, mmap.PROT_READ, mmap.MAP_SHARED, number, 0)
        return [
            (ctypes.c_void_p(address + 4 * n), ctypes.c_uint32.from_address(address + 4 * n).value)
            for n in range(self.width)
        ]

    def call(self, place, operation, value, timeout=None):
        return libc.syscall(FUTEX[os.uname().machine], place, operation, value, timeout, None, 0)

    def send(self, sent, seed, begin):
        places = self.places()
        for n, end in slots(begin, self.width):
            told = [place for k, (place, _) in enumerate(places) if sent[n + k]]
            while time.monotonic() < end - SLOT_S / 4:
                for place in told:
                    self.call(place, FUTEX_WAKE, 1)

    def receive(self, seed, begin):
        places, got = self.places(), []
        with ThreadPoolExecutor(self.width) as waiting:
            for _, end in slots(begin, self.width):
                left = max(1000, int((end - SLOT_S / 3 - time.monotonic()) * 1e9))
                got += waiting.map(partial(self.woken, left), places)
        return got

    def woken(self, nanoseconds, waited):
        place, value = waited
        timeout = ctypes.create_string_buffer(struct.pack("qq", 0, nanoseconds))
        return int(self.call(place, FUTEX_WAIT, ctypes.c_uint32(value), timeout) == 0)


CARRIERS = {
    "names": Names,
    "pages": Pages,
    "mappings": Mappings,
    "locks": Locks,
    "counts": Counts,
    "futexes": Futexes,
}


def main():
    role, carrier, seed, begin = sys.argv[1:]
    end = CARRIERS[carrier]()
    if role == "send":
        end.send(bits(int(seed)), seed, float(begin))
        time.sleep(1)
        return
    began = time.monotonic()
    got = end.receive(seed, float(begin))
    print("".join(map(str, got)), time.monotonic() - max(began, float(begin)))


if __name__ == "__main__":
    main()
