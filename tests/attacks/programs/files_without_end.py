"""Leave hundreds of empty files."""

from __future__ import annotations

import sys
from pathlib import Path

ROOM = "disk"
COUNT = 600


def attack(_):
    for n in range(COUNT):
        Path(sys.argv[1], f"empty{n}").touch()


def landed(seen):
    count = sum(path.name.startswith("empty") for path in seen.left)
    return f"left {count} files" * (count > 256)
