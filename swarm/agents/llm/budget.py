"""Dollars and tokens, reserved at their worst before a call and settled after it.

What is spent and what is held together never exceed a limit, so no number of concurrent calls
can overshoot one. A call that others' reservations leave no room for waits until they settle; one
that no settlement can make room for is a BudgetError.

Amounts are whole billionths of a dollar inside, rounded up: sums are exact in any order.

Not covered:
- A provider that bills more than the worst case (more tokens than the prompt has bytes, more
  output than was asked for, a higher price for long prompts) is settled at what it says: the limit
  is then passed by that much.
- `spent` is what the caller's record holds, which can be everything (see `agent.Note`).
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
    """The next call could break `limit`: nothing was sent, and nothing more can be.

    `LanguageModel` lets it out only before a proposal's first call, so no cost is lost with it.
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
        """The same in dollars."""
        return self.nano / _NANO

    def __add__(self, other: _Amount) -> _Amount:
        return _Amount(self.nano + other.nano, self.tokens + other.tokens)

    def __sub__(self, other: _Amount) -> _Amount:
        return _Amount(self.nano - other.nano, self.tokens - other.tokens)


def _amount(usd: float, tokens: int) -> _Amount:
    return _Amount(math.ceil(usd * _NANO), tokens)


class Reservation:
    """One call's share: nothing until it begins, from then on its worst, until it is settled."""

    def __init__(self, worst: _Amount) -> None:
        self._worst, self._cost = worst, _Amount()

    def start(self) -> None:
        """Say that the request goes out: whatever becomes of it now, it may be billed."""
        self._cost = self._worst

    def settle(self, usd: float, tokens: int) -> None:
        """Say what the call did cost: dollars, and tokens sent and received together."""
        self._cost = _amount(usd, tokens)

    @property
    def cost(self) -> _Amount:
        """What the call costs as far as is known."""
        return self._cost


class Budget:
    """One run's limits, shared by all its agents. None is no limit; `spent` is from earlier."""

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
        """Dollars spent by settled calls."""
        return self._spent.usd

    @property
    def spent_tokens(self) -> int:
        """Tokens sent and received by settled calls; an unknown number counts at its worst."""
        return self._spent.tokens

    @asynccontextmanager
    async def reserve(self, usd: float, tokens: int) -> AsyncIterator[Reservation]:
        """Hold `usd` and `tokens` while the body calls; the body begins and settles.

        Raises BudgetError where the limits have no room left for them.
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
        """Wait until `worst` fits. First come is first asked, and a smaller one may pass."""
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
                "usd", f"{spent} spent, and one more call could cost {worst.usd:.4f}"
            )
        spent = f"{self.spent_tokens} of {self.max_tokens} tokens are"
        return BudgetError("tokens", f"{spent} spent, and one more call could take {worst.tokens}")
