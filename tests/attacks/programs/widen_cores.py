"""Run on every core of the machine."""

from __future__ import annotations

import os

from attack_target import trying


def attack(target):
    with trying():
        os.sched_setaffinity(0, target.cores)
    more = os.sched_getaffinity(0) - {*target.lease}
    if more:
        print(f"got cores {more}")
