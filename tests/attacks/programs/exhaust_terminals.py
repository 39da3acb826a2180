"""Take the machine's pseudoterminals, of which it has a number: nobody else could open one."""

from __future__ import annotations

import os

from attack_target import trying

MANY = 100


def attack(_):
    held = []
    with trying():
        while len(held) < MANY:
            held.append(os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY))
    if len(held) == MANY:
        print("got", MANY, "terminals")
