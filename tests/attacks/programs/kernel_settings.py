"""Open the kernel's settings for writing. They are the real ones, so nothing is written."""

from __future__ import annotations

import os

from attack_target import trying


def attack(_):
    for path in ("kernel/core_pattern", "kernel/modprobe", "vm/overcommit_memory", "fs/file-max"):
        with trying():
            os.close(os.open(f"/proc/sys/{path}", os.O_WRONLY))
            print(f"got {path} open for writing")
