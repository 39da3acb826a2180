"""Budget of dollars and tokens: reserved at the maximum before a request, settled after it.

Spent and reserved amounts together never exceed a limit, so concurrent requests cannot overshoot
it. A request for which other reservations leave no room waits until they settle; one that cannot
fit even then raises BudgetError.

Amounts are whole billionths of a dollar, rounded up: sums are exact in any order.

Not covered:
- A provider that bills more than the maximum (more tokens than the prompt has bytes, more output
  than the limit, a higher price for long prompts) is settled at what it reports: the limit is then
  exceeded by that much.
- `spent` is what the caller recorded, which can be all of it (see `agent.UsageCallback`).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from islands.records import Usage

_NANO = 1_000_000_000


class BudgetError(Exception):
    """The next request could exceed `limit`, so it was not sent.

    `LanguageModel` raises it only before a proposal's first request, so it carries no cost.
    """

    def __init__(self, limit: Literal["usd", "tokens"], reason: str) -> None:
        super().__init__(reason)
        self.limit: Literal["usd", "tokens"] = limit


@dataclass(frozen=True, slots=True)
class _Amount:
    """Billionths of a dollar, and tokens."""

    nano: int = 0
    tokens: int = 0

    @property
    def usd(self) -> float:
        """The amount in dollars."""
        return self.nano / _NANO

    def __add__(self, other: _Amount) -> _Amount:
        return _Amount(self.nano + other.nano, self.tokens + other.tokens)

    def __sub__(self, other: _Amount) -> _Amount:
        return _Amount(self.nano - other.nano, self.tokens - other.tokens)


def _amount(usd: float, tokens: int) -> _Amount:
    return _Amount(math.ceil(usd * _NANO), tokens)


class Reservation:
    """One request's share of the budget: zero until started, then its maximum until settled."""

    def __init__(self, worst: _Amount) -> None:
        self._worst, self._cost = worst, _Amount()

    def start(self) -> None:
        """Record that the request goes out: from now on it may be billed."""
        self._cost = self._worst

    def settle(self, usd: float, tokens: int) -> None:
        """Record the cost: dollars, and tokens sent and received together."""
        self._cost = _amount(usd, tokens)

    @property
    def cost(self) -> _Amount:
        """The cost so far, an upper bound until settled."""
        return self._cost


class Budget:
    """One run's limits, shared by all its agents (None: no limit); `spent` is from before."""

    def __init__(
        self,
        max_usd: float | None = None,
        max_tokens: int | None = None,
        spent: Usage | None = None,
    ) -> None:
        self.max_usd, self.max_tokens = max_usd, max_tokens
        spent = spent or Usage()
        self._spent = _amount(spent.usd, spent.tokens)
        self._reserved = _Amount()
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def spent_usd(self) -> float:
        """Dollars spent by settled requests."""
        return self._spent.usd

    @property
    def spent_tokens(self) -> int:
        """Tokens sent and received by settled requests; an unknown number counts at its maximum."""
        return self._spent.tokens

    def set_limits(self, max_usd: float | None, max_tokens: int | None) -> None:
        """Replace the limits; requests that wait for room try again."""
        self.max_usd, self.max_tokens = max_usd, max_tokens
        self._wake()

    @asynccontextmanager
    async def reserve(self, usd: float, tokens: int) -> AsyncIterator[Reservation]:
        """Reserve `usd` and `tokens` during the body, which starts and settles the request.

        Raises BudgetError if they cannot fit within the limits.
        """
        worst = _amount(usd, tokens)
        await self._wait_for_room(worst)
        self._reserved += worst
        reservation = Reservation(worst)
        try:
            yield reservation
        finally:
            self._reserved -= worst
            self._spent += reservation.cost
            self._wake()

    async def _wait_for_room(self, worst: _Amount) -> None:
        """Wait until `worst` fits; waiters retry in order, and a smaller request may overtake."""
        while not self._fits(self._spent + self._reserved + worst):
            if not self._fits(self._spent + worst):
                raise self._exhausted(worst)
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)

    def _fits(self, total: _Amount) -> bool:
        return self._fits_usd(total) and (
            self.max_tokens is None or total.tokens <= self.max_tokens
        )

    def _fits_usd(self, total: _Amount) -> bool:
        return self.max_usd is None or total.nano <= self.max_usd * _NANO

    def _exhausted(self, worst: _Amount) -> BudgetError:
        if not self._fits_usd(self._spent + worst):
            spent = f"{self.spent_usd:.4f} of {self.max_usd} dollars are"
            return BudgetError(
                "usd", f"{spent} spent, and one more request could cost {worst.usd:.4f}"
            )
        spent = f"{self.spent_tokens} of {self.max_tokens} tokens are"
        return BudgetError(
            "tokens", f"{spent} spent, and one more request could take {worst.tokens}"
        )
