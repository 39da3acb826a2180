"""Rate limiter of one provider and key, shared by every island that calls it.

It limits requests per minute (asyncio-throttle) and concurrent requests. When the provider reports
overload, all callers back off together: for as long as the provider asks, else exponentially with
jitter.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from asyncio_throttle.throttler import Throttler


class EventLoopThrottler(Throttler):
    """asyncio-throttle on the event loop's clock, first come first served."""

    # flush and acquire are overridden because asyncio-throttle 1.0.2 reads time.monotonic(), which
    # stands still in simulated time, and polls every 10 ms: 6,000 wake-ups a minute for each waiter

    def __init__(self, rate_limit: int, period: float) -> None:
        super().__init__(rate_limit, period)
        self._queue = asyncio.Lock()

    def flush(self) -> None:
        """Drop the requests that are at least one period old."""
        now = asyncio.get_running_loop().time()
        while self._task_logs and now >= self._task_logs[0] + self.period:
            self._task_logs.popleft()

    async def acquire(self) -> None:
        """Wait until fewer than `rate_limit` requests began within the last period."""
        loop = asyncio.get_running_loop()
        async with self._queue:
            self.flush()
            while len(self._task_logs) >= self.rate_limit:
                await asyncio.sleep(self._task_logs[0] + self.period - loop.time())
                self.flush()
            self._task_logs.append(loop.time())


class PausedError(Exception):
    """The provider asks for a pause longer than `max_pause_s`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the provider asks for a pause of {seconds:.0f} s")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Limits on calls to one provider.

    `max_concurrent`: calls in flight; enough for eight slices and a model four times as slow as
    they are (see swarm/coordinator/prefetch.py). `first_pause_s` to `longest_pause_s`: back-off
    when the provider names no time. `max_pause_s`: a longer pause raises PausedError.
    """

    requests_per_minute: int
    max_concurrent: int = 64
    first_pause_s: float = 1.0
    longest_pause_s: float = 60.0
    max_pause_s: float = 300.0


class RateLimiter:
    """Limits requests to one provider with one key. `seed` fixes the jitter."""

    def __init__(self, limits: RateLimits, seed: int = 0) -> None:
        self._limits = limits
        self._throttle = EventLoopThrottler(limits.requests_per_minute, period=60.0)
        self._slots = asyncio.Semaphore(limits.max_concurrent)
        self._random = random.Random(seed)
        self._overloads = 0
        self._paused_at = self._resume_at = float("-inf")

    @property
    def requests_per_minute(self) -> int:
        """The current limit."""
        return int(self._throttle.rate_limit)

    @property
    def max_pause_s(self) -> float:
        """The longest pause that callers wait out, in seconds."""
        return self._limits.max_pause_s

    def limit_rate(self, requests_per_minute: int) -> None:
        """Lower the limit to this rate: agents that share a key share its lowest setting."""
        self._throttle.rate_limit = min(self.requests_per_minute, requests_per_minute)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[float]:
        """Wait until one request may be sent; yields its start time on the loop's clock.

        Raises PausedError if the provider's pause is longer than `max_pause_s`.
        """
        async with self._slots:
            await self._wait_out_pause()
            await self._throttle.acquire()
            await self._wait_out_pause()  # a pause may have started in the meantime
            yield asyncio.get_running_loop().time()

    async def _wait_out_pause(self) -> None:
        loop = asyncio.get_running_loop()
        while (remaining := self._resume_at - loop.time()) > 0:
            if remaining > self.max_pause_s:
                raise PausedError(remaining)
            # jitter of up to a half more, or all waiting callers would return at the same instant
            await asyncio.sleep(remaining * self._random.uniform(1.0, 1.5))

    def back_off(self, began: float, retry_after: float | None) -> None:
        """Pause all callers: the request sent at `began` was rejected for overload.

        `retry_after` is the pause that the provider named, in seconds. Only a request sent after
        the last pause started lengthens the next one: of sixteen rejected together, one counts.
        """
        fresh = began > self._paused_at
        if fresh:
            self._paused_at = asyncio.get_running_loop().time()
            self._overloads += 1
        if retry_after is not None:
            self.pause(retry_after)
        elif fresh:
            self.pause(self.backoff_s(self._overloads))

    def pause(self, seconds: float) -> None:
        """Let no request start for `seconds`."""
        self._resume_at = max(self._resume_at, asyncio.get_running_loop().time() + seconds)

    def record_success(self, began: float) -> None:
        """Record that the request sent at `began` was answered: the back-off starts over."""
        if began > self._paused_at:
            self._overloads = 0

    def backoff_s(self, failures: int) -> float:
        """Return the seconds to wait after `failures` failures: doubled each time, with jitter."""
        whole = min(
            self._limits.longest_pause_s, self._limits.first_pause_s * 2.0 ** min(failures - 1, 30)
        )
        return whole * self._random.uniform(0.5, 1.0)
