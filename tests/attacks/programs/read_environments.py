"""Find the secret in the environment of this process or another."""

from __future__ import annotations

import os

from attack_target import show


def attack(target):
    print(dict(os.environ))
    show("/proc/self/environ")
    for process in target.processes():
        show(process / "environ")
