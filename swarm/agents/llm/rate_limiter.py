"""One rate governor for each provider and key, shared by every island that calls it.

It holds requests per minute (asyncio-throttle) and the number of calls in the air, and when the
provider says that it is too much for it, all callers back off together: for as long as the
provider asks, or else twice as long each time, and then not all in the same instant.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from asyncio_throttle.throttler import Throttler


class LoopThrottler(Throttler):
    """asyncio-throttle on the event loop's clock, first come first served.

    The package (1.0.2) asks time.monotonic() and polls every 10 ms: in simulated time the one
    never moves and the other is 6,000 wake-ups a minute for each waiter.
    """

    def __init__(self, rate_limit: int, period: float) -> None:
        super().__init__(rate_limit, period)
        self._turns = asyncio.Lock()

    def flush(self) -> None:
        """Forget the requests that are a period old."""
        now = asyncio.get_running_loop().time()
        while self._task_logs and now >= self._task_logs[0] + self.period:
            self._task_logs.popleft()

    async def acquire(self) -> None:
        """Wait until fewer than `rate_limit` requests began within the last period."""
        loop = asyncio.get_running_loop()
        async with self._turns:
            self.flush()
            while len(self._task_logs) >= self.rate_limit:
                await asyncio.sleep(self._task_logs[0] + self.period - loop.time())
                self.flush()
            self._task_logs.append(loop.time())


class PausedError(Exception):
    """The provider wants to be left alone for longer than a caller should wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the provider asks for a pause of {seconds:.0f} s")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class RateLimits:
    """How a provider is treated.

    `concurrent` calls at most are in the air: what eight slices want of a model that is four times
    as slow as they are (see swarm/coordinator/prefetch.py). `first_pause` to `longest_pause`
    seconds are waited
    where the provider names no time; `patience` is the longest pause that is sat out.
    """

    requests_per_minute: int
    concurrent: int = 64
    first_pause: float = 1.0
    longest_pause: float = 60.0
    patience: float = 300.0


class RateLimiter:
    """Gives turns to call one provider with one key. `seed` fixes its jitter."""

    def __init__(self, pace: RateLimits, seed: int = 0) -> None:
        self._pace = pace
        self._throttle = LoopThrottler(pace.requests_per_minute, period=60.0)
        self._seats = asyncio.Semaphore(pace.concurrent)
        self._random = random.Random(seed)
        self._strikes = 0
        self._paused_at = self._resume_at = float("-inf")

    @property
    def requests_per_minute(self) -> int:
        """The rate that is held."""
        return int(self._throttle.rate_limit)

    @property
    def patience(self) -> float:
        """The longest that a caller should wait, in seconds."""
        return self._pace.patience

    def slow_to(self, requests_per_minute: int) -> None:
        """Hold this rate too: agents that share a key share its slowest setting."""
        self._throttle.rate_limit = min(self.requests_per_minute, requests_per_minute)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[float]:
        """Wait for a turn to send one request; yields when it began, on the loop's clock.

        Raises PausedError where the provider's pause is longer than patience.
        """
        async with self._seats:
            await self._sit_out()
            await self._throttle.acquire()
            await self._sit_out()
            yield asyncio.get_running_loop().time()

    async def _sit_out(self) -> None:
        loop = asyncio.get_running_loop()
        while (left := self._resume_at - loop.time()) > 0:
            if left > self.patience:
                raise PausedError(left)
            # spread over a half more, or all that wait would come back in the same instant
            await asyncio.sleep(left * self._random.uniform(1.0, 1.5))

    def back_off(self, began: float, asked: float | None) -> None:
        """Pause everybody: the request that `began` then was too much, `asked` seconds are named.

        Only a request sent after the last pause began makes the next one longer: of sixteen that
        are turned away together, one counts.
        """
        fresh = began > self._paused_at
        if fresh:
            self._paused_at = asyncio.get_running_loop().time()
            self._strikes += 1
        if asked is not None:
            self.hold(asked)
        elif fresh:
            self.hold(self.delay(self._strikes))

    def hold(self, seconds: float) -> None:
        """Let nobody begin for `seconds`."""
        self._resume_at = max(self._resume_at, asyncio.get_running_loop().time() + seconds)

    def eased(self, began: float) -> None:
        """Note that the request which `began` then was answered: the next pause is short again."""
        if began > self._paused_at:
            self._strikes = 0

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after that many failures: doubled each time, with jitter."""
        whole = min(self._pace.longest_pause, self._pace.first_pause * 2.0 ** min(failures - 1, 30))
        return whole * self._random.uniform(0.5, 1.0)
