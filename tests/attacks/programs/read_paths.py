"""Read the secret by every path that leads to it."""

from __future__ import annotations

from attack_target import show


def attack(target):
    secret = f"{target.folder}/secret"
    show(secret)
    show(f"/proc/self/root{secret}")
    show(f"/../../..{secret}")
    for process in target.processes():
        show(f"{process}/root{secret}")
        show(f"{process}/cwd/secret")
