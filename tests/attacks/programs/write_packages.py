"""Leave a .pth file, which every Python there runs at its start, or change a package."""

from __future__ import annotations

from pathlib import Path

from attack_target import deface, trying


def attack(target):
    with trying():
        Path(target.folder, "packages/evil.pth").write_text("import os")
    deface(f"{target.folder}/packages/torch.py")


def landed(seen):
    return seen.changed("packages")
