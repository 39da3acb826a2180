"""Write to descriptors that the harness forgot to close."""

from __future__ import annotations

import os

from attack_target import trying


def attack(_):
    for number in range(3, 256):
        with trying():
            os.write(number, b"here")


def landed(seen):
    return "wrote to one" * bool(seen.leaked)
