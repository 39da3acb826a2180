"""Take hold of a neighbour as a debugger does."""

from __future__ import annotations

SEIZE, DETACH = 0x4206, 17


def attack(field):
    field.call("ptrace", SEIZE, field.neighbour, 0, 0)
    print("got hold of the neighbour")
