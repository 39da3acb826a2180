"""Change the harness's own code, and leave byte code that runs in its place."""

from __future__ import annotations

from pathlib import Path

from field import deface, trying


def attack(field):
    deface(f"{field.folder}/repo/harness/trial.py")
    with trying():
        Path(f"{field.folder}/repo/harness/__pycache__/measure.cpython-311.pyc").write_bytes(b"x")


def landed(seen):
    return seen.changed("repo/harness")
