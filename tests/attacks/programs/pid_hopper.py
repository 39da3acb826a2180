"""Outlive the deadline by forking and exiting faster than processes can be listed."""

from __future__ import annotations

import os
import time
from pathlib import Path

ROOM = "deadline"


def attack(target):
    host = Path(target.folder)
    begun = host.exists()
    for _ in range(4):
        if not os.fork():
            os.setsid()
            while time.monotonic() < target.until and host.exists() == begun:
                if os.fork():
                    os._exit(0)


def landed(seen):
    return seen.late
