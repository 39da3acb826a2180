"""Fill the disk with many files, each of them small enough."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from field import trying

ROOM = "disk"
MIB = 1 << 20


def attack(_):
    with trying():
        fill(Path(sys.argv[1]))
    with trying(), tempfile.TemporaryDirectory(dir="/tmp") as folder:
        fill(Path(folder))
        print("got 24 MiB into /tmp")


def fill(folder):
    """Write 24 MiB, three times what is allowed."""
    for n in range(12):
        (folder / f"fill{n}").write_bytes(bytes(2 * MIB))


def landed(seen):
    large = sum(path.stat().st_size for path in seen.left if path.name.startswith("fill"))
    return f"left {large >> 20} MiB" * (large > 8 << 20) or seen.claim
