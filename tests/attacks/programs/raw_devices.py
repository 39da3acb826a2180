"""Open the kernel's memory, log and disks. They are the real ones, so nothing is read."""

from __future__ import annotations

import os
from pathlib import Path

from attack_target import trying


def attack(_):
    for name in ("mem", "kmsg", "kvm", "[hsv]d[a-z]", "nvme[0-9]n[0-9]", "loop[0-9]"):
        for path in Path("/dev").glob(name):
            with trying():
                os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
                print(f"got {path} open")
