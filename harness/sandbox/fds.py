"""Waiting on file descriptors."""

from __future__ import annotations

import select


def readable(number: int, wait: float) -> bool:
    """Say whether a descriptor becomes readable within `wait` seconds."""
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(1000 * wait))
