"""Lower a neighbour's resource limits and priority, as a process of the same user."""

from __future__ import annotations

import os
import resource

from attack_target import trying


def attack(target):
    with trying():
        resource.prlimit(target.victim, resource.RLIMIT_CORE, (0, 0))
        print("got the limits of another")
    with trying():
        worse = os.getpriority(os.PRIO_PROCESS, target.victim) + 1
        os.setpriority(os.PRIO_PROCESS, target.victim, worse)
        print("got the priority of another")
