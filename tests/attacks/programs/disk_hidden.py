"""Fill the disk with unlinked files that stay open."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from attack_target import trying

ROOM = "hidden"
HOLD = 0.5


def attack(_):
    for place in ("/tmp", tempfile.gettempdir()):
        held = []
        with trying():
            for _ in range(12):
                number, path = tempfile.mkstemp(dir=place)
                Path(path).unlink()
                held.append(number)
                os.write(number, bytes(2 << 20))
            time.sleep(HOLD)
            print("got 24 MiB into", place)
