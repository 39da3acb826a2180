"""The one meter of all model calls: budget before, rate limit at, record after each.

Two doors lead through it: `ModelClient` (our own agents, by the providers' SDKs) and the gateway
(external coding agents, over HTTP on loopback). They share a run's budget, one rate limiter a
provider and key, and the events that the record is made of.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from islands import events as ev
from islands.records import Usage
from swarm.agents.base import ErrorKind
from swarm.agents.llm.budget import Budget, BudgetError, Reservation
from swarm.agents.llm.provider import CallError, OverloadedError, RejectedError
from swarm.agents.llm.rate_limiter import RateLimiter
from swarm.agents.llm.settings import ModelSettings, Price, Tokens

CallRecorder = Callable[[ev.ModelCalled], None]
"""Called with each call once it has ended."""

_NO_PRICE = Price(0.0, 0.0, 0.0, 0.0)


def ignore_call(call: ev.ModelCalled) -> None:
    """Ignore the call."""


def always() -> bool:
    """Return True."""
    return True


class UnwantedError(Exception):
    """Nobody waits for the call's answer any more, so it was not sent."""


@dataclass(slots=True)
class Bill:
    """The running cost of one proposal, and its errors.

    A request that may have been billed without a count of its tokens, those in flight included,
    counts at its maximum in dollars and in `tokens_untold`. So the usage of a proposal that is cut
    short is an upper bound of its cost. `on_usage` is called before each request goes out, and
    after a free failure before another call can reserve the budget it returns.

    `experiment`: number of the proposal, 0 if there is none.
    `report_settled`: whether `on_usage` is also called when a request is settled: for a caller
    that does not report the end itself before another call can reserve what is left.
    `error_kind`: the latest error; `error_kinds`: all errors, in order.
    """

    on_usage: Callable[[Usage], None] = field(default=lambda _: None, repr=False)
    experiment: int = 0
    report_settled: bool = False
    error_kind: ErrorKind = "malformed"
    error_kinds: list[ErrorKind] = field(default_factory=list)
    requests: int = 0
    """Requests made so far; `usage` may begin with the cost of earlier ones."""

    _settled: Usage = Usage()
    _unsettled: dict[int, Usage] = field(default_factory=dict)
    """The maximum of each request that is not settled, by its number."""

    _reported: Usage = Usage()

    @property
    def usage(self) -> Usage:
        """The proposal's cost if no further reply arrives."""
        settled, open_ = self._settled, self._unsettled.values()
        return replace(
            settled,
            usd=settled.usd + sum(usage.usd for usage in open_),
            tokens_untold=settled.tokens_untold + sum(usage.tokens_untold for usage in open_),
        )

    def carry(self, usage: Usage) -> None:
        """Add what was spent before, to be reported with the next request."""
        self._settled = usage

    def record_error(self, error_kind: ErrorKind) -> None:
        """Record an error; a proposal that succeeds later lists it in its notes."""
        self.error_kind = error_kind
        self.error_kinds.append(error_kind)
        self._report()

    def start_request(self, usd: float, tokens: int) -> int:
        """Record that a request goes out which may cost up to `usd` dollars and `tokens` tokens.

        Returns its number.
        """
        self.requests += 1
        self._settled = replace(self._settled, calls=self._settled.calls + 1)
        self._unsettled[self.requests] = Usage(usd=usd, tokens_untold=tokens)
        self._report()
        return self.requests

    def settle_request(self, number: int, usd: float, tokens: Tokens, untold: int = 0) -> None:
        """Record the cost of request `number`, which replaces its maximum.

        `untold`: the most tokens that it took beside those counted.
        """
        self._unsettled.pop(number)
        settled = self._settled
        self._settled = replace(
            settled,
            tokens_in=settled.tokens_in + tokens.total_input,
            tokens_out=settled.tokens_out + tokens.output,
            tokens_untold=settled.tokens_untold + untold,
            usd=settled.usd + usd,
        )
        if self.report_settled:
            self._report()

    def cancel_request(self, number: int) -> None:
        """Record that request `number` cost nothing."""
        self._unsettled.pop(number)
        self._report()

    def _report(self) -> None:
        if self.usage != self._reported:
            self._reported = self.usage
            self.on_usage(self._reported)


@dataclass(slots=True)
class MeteredCall:
    """A call under way: what is known of its answer so far.

    status: HTTP status, 0 for none
    tokens: what the provider counted, None for nothing
    output_told: whether the output tokens among them are final: a stream tells its input first
    wait_s: seconds for which its headers ask everybody to wait
    free: it certainly cost nothing
    """

    status: int = 0
    tokens: Tokens | None = None
    output_told: bool = True
    wait_s: float = 0.0
    free: bool = False


@dataclass(frozen=True, slots=True)
class Meter:
    """The way of agent `agent` to its model; agents share `limiter`, `budget` and `record`."""

    agent: str
    settings: ModelSettings
    limiter: RateLimiter = field(repr=False)
    budget: Budget = field(repr=False)
    record: CallRecorder = field(default=ignore_call, repr=False)

    @asynccontextmanager
    async def call(
        self, sent: int, output: int, bill: Bill, wanted: Callable[[], bool] = always
    ) -> AsyncIterator[MeteredCall]:
        """Make one call in the body, within budget and rate, and bill it however it ends.

        `sent`, `output`: the most tokens that it can take. A call that is not settled (the reply
        has no token counts, is cut off, or the task is cancelled) stays at its maximum in budget
        and bill. Raises BudgetError, PausedError, and UnwantedError if it is no longer `wanted`
        when its turn comes.
        """
        if self.budget.max_usd is not None and self.settings.price is None:
            # refused at launch; a limit may be set later
            reason = f"the price of {self.settings.model} is unknown, and a limit in dollars is set"
            raise BudgetError("usd", reason)
        worst = self._price.max_usd(sent, output)
        async with (
            self.budget.reserve(worst, sent + output) as reservation,
            self.limiter.acquire() as began,
        ):
            if not wanted():
                raise UnwantedError
            number = bill.start_request(worst, sent + output)
            reservation.start()
            call = MeteredCall()
            try:
                yield call
            except (CallError, RejectedError) as error:
                call.free, call.status = error.free, error.status
                if isinstance(error, OverloadedError):
                    self.limiter.back_off(began, error.retry_after)
                raise
            else:
                self.limiter.record_success(began)
                self.limiter.pause(call.wait_s)
            finally:
                usage = self._settle(call, number, (sent, output), bill, reservation)
                self.record(self._event(call, usage, bill.experiment, began))

    @property
    def _price(self) -> Price:
        return self.settings.price or _NO_PRICE

    def _settle(
        self,
        call: MeteredCall,
        number: int,
        worst: tuple[int, int],
        bill: Bill,
        reservation: Reservation,
    ) -> Usage:
        """Charge what the call cost, as far as it is known, and return it."""
        price, (sent, output) = self._price, worst
        if call.free:
            reservation.settle(0.0, 0)
            bill.cancel_request(number)
            return Usage()
        if call.tokens is None:
            return Usage(usd=price.max_usd(sent, output), tokens_untold=sent + output)
        tokens, untold = call.tokens, 0
        usd = price.usd(tokens)
        if not call.output_told:
            tokens, untold = replace(tokens, output=0), output
            usd = price.usd(replace(tokens, output=output))
        total = tokens.total_input + tokens.output + untold
        reservation.settle(usd, total)
        bill.settle_request(number, usd, tokens, untold)
        return Usage(
            tokens_in=tokens.total_input, tokens_out=tokens.output, usd=usd, tokens_untold=untold
        )

    def _event(
        self, call: MeteredCall, usage: Usage, experiment: int, began: float
    ) -> ev.ModelCalled:
        return ev.ModelCalled(
            agent=self.agent,
            model=self.settings.model,
            experiment=experiment,
            status=call.status,
            tokens_in=usage.tokens_in,
            tokens_out=usage.tokens_out,
            tokens_cached=call.tokens.cache_read if call.tokens else 0,
            tokens_untold=usage.tokens_untold,
            usd=None if self.settings.price is None else usage.usd,
            seconds=asyncio.get_running_loop().time() - began,
        )
