"""Kill another user's process."""

from __future__ import annotations

import os
import signal


def attack(target):
    os.kill(target.victim, signal.SIGKILL)


def landed(seen):
    return "ended it" * seen.victim_ended
