"""Hold memory in the buffers of sockets, of many processes."""

from __future__ import annotations

import os
import socket
import time

from attack_target import trying

ROOM = "sockets"
HELD_MIB, HOLD_S = 768, 10


def attack(_):
    os.setpgid(0, 0)
    told, telling = os.pipe()
    for _ in range(12):
        if not os.fork():
            fill(telling)
            time.sleep(60)
    os.close(telling)
    held = 0
    while message := os.read(told, 4):
        held += int.from_bytes(message)
        if held > HELD_MIB << 20:
            print("got", HELD_MIB, "MiB of sockets", flush=True)
            time.sleep(HOLD_S)
            os.killpg(0, 9)


def fill(telling):
    """Fill as many sockets as this process may have."""
    held = []
    with trying():
        while True:
            pair = socket.socketpair()
            held += pair
            for end in pair:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
                end.setblocking(False)
                with trying():
                    while True:
                        os.write(telling, end.send(bytes(1 << 16)).to_bytes(4))


def landed(seen):
    return seen.claim * (seen.ended.killed != "memory")
