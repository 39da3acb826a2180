"""Read the secret by every path that leads to it."""

from __future__ import annotations

from field import show


def attack(field):
    secret = f"{field.folder}/secret"
    show(secret)
    show(f"/proc/self/root{secret}")
    show(f"/../../..{secret}")
    for process in field.processes():
        show(f"{process}/root{secret}")
        show(f"{process}/cwd/secret")
