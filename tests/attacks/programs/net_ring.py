"""Make an io_uring, which opens, connects and reads past the system call filter."""

from __future__ import annotations

import ctypes


def attack(target):
    target.call("io_uring_setup", 1, ctypes.create_string_buffer(120))
    print("got a ring")
