"""Leave a .pth file, which every Python that starts there runs, or change a package."""

from __future__ import annotations

from pathlib import Path

from field import deface, trying


def attack(field):
    with trying():
        Path(field.folder, "packages/evil.pth").write_text("import os")
    deface(f"{field.folder}/packages/torch.py")


def landed(seen):
    return seen.changed("packages")
