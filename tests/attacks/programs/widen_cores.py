"""Run on every core of the machine."""

from __future__ import annotations

import os

from field import trying


def attack(field):
    with trying():
        os.sched_setaffinity(0, field.cores)
    more = os.sched_getaffinity(0) - {*field.lease}
    if more:
        print(f"got cores {more}")
