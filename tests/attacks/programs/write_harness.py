"""Change the harness's code, or leave byte code that runs in its place."""

from __future__ import annotations

from pathlib import Path

from attack_target import deface, trying


def attack(target):
    deface(f"{target.folder}/repo/harness/trial.py")
    with trying():
        Path(f"{target.folder}/repo/harness/__pycache__/measure.cpython-311.pyc").write_bytes(b"x")


def landed(seen):
    return seen.changed("repo/harness")
