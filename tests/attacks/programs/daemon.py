"""Outlive the deadline as a daemon: detached twice, ignoring every signal that can be ignored."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

ROOM = "deadline"


def attack(target):
    for _ in range(2):
        if os.fork():
            os._exit(0)
        os.setsid()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    host = Path(target.folder)
    begun = host.exists()
    while time.monotonic() < target.until and host.exists() == begun:
        time.sleep(0.1)


def landed(seen):
    return seen.late
