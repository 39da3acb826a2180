"""Pauses between trials, which end with the launch: nobody waits for one after asking to stop."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from harness.contract import Rung
from swarm.coordinator.run import Run


async def pause(run: Run, seconds: float, rung: Rung) -> None:
    """Wait so long, but only while one more trial at `rung` may start.

    A stop, a reached limit and new limits are seen at once.
    """
    time = asyncio.get_running_loop().time
    end = time() + seconds
    while run.limits.reached(rung) is None:
        last = run.limits.last_start(rung)
        until = end if last is None else min(end, last)
        if until <= time():
            return
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await run.changes.wait()
