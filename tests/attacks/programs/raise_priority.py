"""Run before others, by niceness or real-time scheduling."""

from __future__ import annotations

import os

from attack_target import trying


def attack(_):
    with trying():
        os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) - 1)
        print("got a better niceness")
    with trying():
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        print("got real time")
