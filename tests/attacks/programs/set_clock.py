"""Set the clock: to nothing, but only those who may are told that it is done."""

from __future__ import annotations


def attack(target):
    target.call("settimeofday", 0, 0)
    print("got the clock")
