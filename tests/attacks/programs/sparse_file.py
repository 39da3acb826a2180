"""Leave a sparse file that claims to hold a terabyte."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def attack(_):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    path = Path(sys.argv[1], "sparse")
    path.touch()
    os.truncate(path, 1 << 40)


def landed(seen):
    return "left a terabyte" * any(path.stat().st_size > 1 << 30 for path in seen.left)
