"""Open the files that all shells and loaders read for writing. Nothing is written."""

from __future__ import annotations

import os

from attack_target import trying

FILES = ("/etc/profile", "/etc/bash.bashrc", "/etc/ld.so.cache", "/etc/passwd", "/etc/hosts")
FOLDERS = ("/etc", "/etc/profile.d", "/usr/lib", "/usr/local/lib", "/usr/local/bin", "/etc/cron.d")


def attack(_):
    for path in FILES:
        with trying():
            os.close(os.open(path, os.O_WRONLY))
            print(f"got {path} open for writing")
    for path in FOLDERS:
        with trying():
            os.close(os.open(path, os.O_WRONLY | os.O_TMPFILE, 0o600))
            print(f"got {path} open for writing")
