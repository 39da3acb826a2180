"""Wakes tasks that wait for something to change, on one island or anywhere."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

ANYWHERE = ""
"""The name under which tasks wait for a change on any island."""


@dataclass(slots=True)
class Notifier:
    """Tasks that wait for a change, by island."""

    _waiting: dict[str, asyncio.Event] = field(default_factory=dict)

    def notify(self, island: str = ANYWHERE) -> None:
        """Wake the tasks that wait for a change on `island`, and those that wait for any."""
        for name in (island, ANYWHERE):  # not a set: the order of waking must not depend on hashes
            event = self._waiting.pop(name, None)
            if event is not None:
                event.set()

    async def wait(self, island: str = ANYWHERE) -> None:
        """Wait until something changes on `island`, or anywhere if none is named."""
        await self._waiting.setdefault(island, asyncio.Event()).wait()
