"""Fill the disk with many small files."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from attack_target import trying

ROOM = "full"
HOLD = 0.5  # seconds for which it has to lie there: what a watchdog ends at once harms nobody
MIB = 1 << 20


def attack(_):
    with trying():
        fill(Path(sys.argv[1]))
    for place in ("/tmp", tempfile.gettempdir()):
        with trying(), tempfile.TemporaryDirectory(dir=place) as folder:
            fill(Path(folder))
            time.sleep(HOLD)
            print("got 24 MiB into", place)


def fill(folder):
    """Write 24 MiB, three times what is allowed."""
    for n in range(12):
        (folder / f"fill{n}").write_bytes(bytes(2 * MIB))


def landed(seen):
    large = sum(path.stat().st_size for path in seen.left if path.name.startswith("fill"))
    return f"left {large >> 20} MiB" * (large > 8 << 20) or seen.claim
