"""Hold what nobody counts: epoll watches, requests for asynchronous reads, TCP's memory."""

from __future__ import annotations

import ctypes
import os
import select
import socket

from attack_target import trying


def attack(target):
    with trying():
        polled, (ours, _) = select.epoll(), os.pipe()
        polled.register(ours, select.EPOLLIN)
        print("got a watch in the kernel's memory")
    with trying():
        target.call("io_setup", 128, ctypes.create_string_buffer(8))
        print("got 128 of the machine's requests")
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with trying():
            socket.socket(socket.AF_INET, kind)
            print("got a socket with the machine's memory")
