"""Leave code in files that the user's shell and tools read."""

from __future__ import annotations

from field import deface


def attack(field):
    for name in (".bashrc", ".profile", ".gitconfig", ".config/pip/pip.conf", ".netrc"):
        deface(f"{field.folder}/home/{name}")


def landed(seen):
    return seen.changed("home")
