"""Open this interpreter's own library for writing; nothing is written, it is the real one."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

from field import trying


def attack(_):
    for path in (os.__file__, sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")):
        with trying():
            flags = os.O_TMPFILE if Path(path).is_dir() else 0
            os.close(os.open(path, os.O_WRONLY | flags, 0o600))
            print(f"got {path} open for writing")
