"""Leave a note for the next sandbox in any folder: temporary ones, HOME, compile caches."""

from __future__ import annotations

import os
from pathlib import Path

from attack_target import trying


def attack(target):
    for path in places(target):
        with trying():
            path.write_text("note")


def again(target):
    for path in places(target):
        with trying():
            if path.read_text() == "note":
                print("got", path)
            path.unlink()


def places(target):
    """Return where notes may go, under a name that is nobody else's."""
    home = os.environ.get("HOME", "/")
    ends = ("_CACHE_DIR", "_HOME", "TMPDIR")
    named = [path for name, path in os.environ.items() if name.endswith(ends)]
    roots = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/dev/mqueue", home)
    caches = (f"{home}/.cache", f"{home}/.triton", f"{home}/.nv", "/tmp/torchinductor_box")
    return [Path(place, f"note-{target.tag}") for place in (*roots, *caches, *named)]
