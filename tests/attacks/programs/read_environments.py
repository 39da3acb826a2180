"""Find the secret in the environment of this process or any other."""

from __future__ import annotations

import os

from field import show


def attack(field):
    print(dict(os.environ))
    show("/proc/self/environ")
    for process in field.processes():
        show(process / "environ")
