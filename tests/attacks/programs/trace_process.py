"""Attach to a neighbour as a debugger."""

from __future__ import annotations

SEIZE, DETACH = 0x4206, 17


def attack(target):
    target.call("ptrace", SEIZE, target.neighbour, 0, 0)
    print("got hold of the neighbour")
