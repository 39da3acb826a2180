"""Outlive the deadline by forking and exiting faster than processes can be listed."""

from __future__ import annotations

import os
import time

ROOM = "deadline"


def attack(target):
    for _ in range(4):
        if not os.fork():
            os.setsid()
            while time.monotonic() < target.until:
                if os.fork():
                    os._exit(0)


def landed(seen):
    return seen.late
