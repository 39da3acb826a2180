"""Take hold of a neighbour as a debugger does."""

from __future__ import annotations

SEIZE, DETACH = 0x4206, 17


def attack(target):
    target.call("ptrace", SEIZE, target.neighbour, 0, 0)
    print("got hold of the neighbour")
