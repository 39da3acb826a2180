"""Leave a setuid program, which runs as its owner."""

from __future__ import annotations

import sys
from pathlib import Path


def attack(_):
    path = Path(sys.argv[1], "setuid")
    path.write_text("#!/bin/sh\n")
    path.chmod(0o6755)


def landed(seen):
    modes = [path.lstat().st_mode & 0o6111 for path in seen.left if path.name == "setuid"]
    return "left it" * any(modes)
