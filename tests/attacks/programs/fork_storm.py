"""Start more processes than are allowed."""

from __future__ import annotations

import os
import time

ROOM = "forks"
BORN = 40


def attack(target):
    for _ in range(BORN):
        if not os.fork():
            time.sleep(60)
            os._exit(0)
    print(f"got {BORN} processes")
