"""Read numbers that the machine gives in turn: of eventfds the lowest free one, and of sockets."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from attack_target import trying

SO_COOKIE = 57


def attack(_):
    with trying():
        about = Path(f"/proc/self/fdinfo/{os.eventfd(0)}").read_text()
        print("got", *[line for line in about.splitlines() if "eventfd-id" in line])
    with trying():
        ours, _ = socket.socketpair()
        print("got a cookie", ours.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8).hex())
