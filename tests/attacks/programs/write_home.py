"""Leave code in files that the user's shell and tools read."""

from __future__ import annotations

from attack_target import deface


def attack(target):
    for name in (".bashrc", ".profile", ".gitconfig", ".config/pip/pip.conf", ".netrc"):
        deface(f"{target.folder}/home/{name}")


def landed(seen):
    return seen.changed("home")
