"""Change the modes of the user's files, which the system allows their owner."""

from __future__ import annotations

import os
from pathlib import Path

from attack_target import trying


def attack(target):
    path = Path(target.folder, "home/.bashrc")
    with trying():
        path.chmod(0o640)
    with trying():
        number = os.open(path, os.O_PATH)
        Path(f"/proc/self/fd/{number}").chmod(0o640)
    with trying():
        os.utime(path, (0, 0))


def landed(seen):
    about = (seen.folder / "home/.bashrc").stat()
    return "changed its mode" * (about.st_mode & 0o777 != 0o666) or "dated it" * (
        about.st_mtime < 1
    )
