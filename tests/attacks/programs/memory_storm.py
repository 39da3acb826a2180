"""Hold more memory than is allowed, spread over processes and hidden in memory files."""

from __future__ import annotations

import os
import time
from pathlib import Path

from attack_target import trying

ROOM = "memory"
MIB = 1 << 20


def attack(target):
    for _ in range(3):
        if not os.fork():
            break
    with trying(), Path(f"/dev/shm/held-{target.tag}").open("wb", 0) as hidden:
        Path(str(hidden.name)).unlink()
        for _ in range(32):
            hidden.write(bytes(MIB))
    held = [b"x" * MIB for _ in range(128)]
    time.sleep(60)
    print(len(held))


def landed(seen):
    too_much = seen.ended.killed != "memory" or seen.ended.peak_mib > 1000
    return f"held {seen.ended.peak_mib:.0f} MiB" * too_much
