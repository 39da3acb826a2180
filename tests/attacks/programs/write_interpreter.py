"""Open the interpreter's library, byte code and .pth folders for writing.

Nothing is written.
"""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

from attack_target import trying


def attack(_):
    own = (os.__file__, sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"))
    for path in (*own, *(f"{folder}/__pycache__" for folder in own)):
        with trying():
            flags = os.O_TMPFILE if Path(path).is_dir() else 0
            os.close(os.open(path, os.O_WRONLY | flags, 0o600))
            print(f"got {path} open for writing")
