"""Set the clock. No time is passed, but only a process that may set it is told of success."""

from __future__ import annotations


def attack(target):
    target.call("settimeofday", 0, 0)
    print("got the clock")
