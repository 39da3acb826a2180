"""Leave links to the host's files, pipes and sockets among the results."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from attack_target import trying


def attack(target):
    out = Path(sys.argv[1])
    (out / "odd-link").symlink_to(f"{target.folder}/secret")
    os.mkfifo(out / "odd-pipe")
    with trying():
        (out / "odd-hard").hardlink_to(sys.argv[3])
    with trying(), socket.socket(socket.AF_UNIX) as server:
        server.bind(str(out / "odd-socket"))


def landed(seen):
    odd = [path.name for path in seen.left if path.name.startswith("odd")]
    return f"left {', '.join(sorted(odd))}" if odd else ""
