"""Write one file larger than the limit."""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path

from attack_target import trying

MIB = 1 << 20


def attack(_):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for folder in (sys.argv[1], "/tmp", "/dev/shm", tempfile.gettempdir()):
        path = Path(folder, "large")
        with trying(), path.open("wb", 0) as file:
            for _ in range(12):
                file.write(bytes(2 * MIB))
        with trying():
            size = path.stat().st_size
            path.unlink()
            if size > 8 * MIB:
                print(f"got {size / MIB:.0f} MiB into {folder}")
