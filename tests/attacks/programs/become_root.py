"""Become root, or keep a capability."""

from __future__ import annotations

import os
from pathlib import Path

from attack_target import trying


def attack(_):
    with trying():
        os.setuid(0)
    status = Path("/proc/self/status").read_text()
    held = int(status.split("CapEff:\t")[1].split()[0], 16)
    if held or not os.getuid():
        print(f"got uid {os.getuid()} with capabilities {held:x}")
