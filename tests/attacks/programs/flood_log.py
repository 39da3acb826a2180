"""Print without end."""

from __future__ import annotations

import os

ROOM = "disk"


def attack(_):
    number = os.open(f"/proc/{os.getppid()}/fd/1", os.O_WRONLY)
    for _ in range(48):
        os.write(number, b"x" * 65536)


def landed(seen):
    return f"wrote {seen.log >> 20} MiB" * (seen.log > 2 << 20)
