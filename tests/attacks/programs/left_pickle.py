"""Leave weights that are a pickle which runs code when it is opened."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

NAME = "weights-pickle"


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def attack(target):
    Path(sys.argv[1], NAME).write_bytes(pickle.dumps(Bomb(f"{target.folder}/unpickled")))


def landed(seen):
    from weights import all_taken  # noqa: PLC0415 - inside a sandbox there is no harness

    if (seen.folder / "unpickled").exists():
        return "was unpickled"
    return all_taken(seen.left, NAME, 1)
