"""A model client that reserves budget, limits its rate, retries, and bills each request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from islands.records import Usage
from swarm.agents.base import AgentError, ErrorKind
from swarm.agents.llm.budget import Budget, BudgetError
from swarm.agents.llm.capabilities import Capabilities
from swarm.agents.llm.provider import (
    CallError,
    OverloadedError,
    Prompt,
    Provider,
    RejectedError,
    Reply,
    ReplyForm,
    TooLongError,
    Turn,
)
from swarm.agents.llm.rate_limiter import PausedError, RateLimiter
from swarm.agents.llm.settings import DEFAULT_KEY_ENVS, ModelSettings, Price, Tokens

MAX_TRIES = 5
"""Requests made for one reply before the proposal fails."""

_NO_PRICE = Price(0.0, 0.0, 0.0, 0.0)

_TEMPLATE_TOKENS = 1024
"""Tokens that a provider's chat template may add to a conversation; well above any known."""


@dataclass(slots=True)
class Bill:
    """The running cost of one proposal, and its errors.

    A request that may have been billed without a count of its tokens, the one in flight included,
    counts at its maximum in dollars and in `tokens_untold`. So the usage of a proposal that is cut
    short is an upper bound of its cost. `on_usage` is called before each request goes out, and
    after a free failure before another call can reserve the budget it returns.

    `error_kind`: the latest error; `error_kinds`: all errors, in order.
    """

    on_usage: Callable[[Usage], None] = field(default=lambda _: None, repr=False)
    error_kind: ErrorKind = "malformed"
    error_kinds: list[ErrorKind] = field(default_factory=list)
    requests: int = 0
    """Requests made so far; `usage` may begin with the cost of earlier ones."""

    _settled: Usage = Usage()
    _unsettled: Usage = Usage()
    _reported: Usage = Usage()

    @property
    def usage(self) -> Usage:
        """The proposal's cost if no further reply arrives."""
        settled, maximum = self._settled, self._unsettled
        untold = settled.tokens_untold + maximum.tokens_untold
        return replace(settled, usd=settled.usd + maximum.usd, tokens_untold=untold)

    def carry(self, usage: Usage) -> None:
        """Add what was spent before, to be reported with the next request."""
        self._settled = usage

    def record_error(self, error_kind: ErrorKind) -> None:
        """Record an error; a proposal that succeeds later lists it in its notes."""
        self.error_kind = error_kind
        self.error_kinds.append(error_kind)
        self._report()

    def start_request(self, usd: float, tokens: int) -> None:
        """Record that a request goes out which may cost up to `usd` dollars and `tokens` tokens."""
        self.requests += 1
        self._settled = replace(self.usage, calls=self.usage.calls + 1)
        self._unsettled = Usage(usd=usd, tokens_untold=tokens)
        self._report()

    def settle_request(self, usd: float, tokens: Tokens) -> None:
        """Record the cost of the latest request, which replaces its maximum."""
        settled, self._unsettled = self._settled, Usage()
        sent, received = settled.tokens_in + tokens.total_input, settled.tokens_out + tokens.output
        total = settled.usd + usd
        self._settled = replace(settled, tokens_in=sent, tokens_out=received, usd=total)

    def cancel_request(self) -> None:
        """Record that the latest request cost nothing."""
        self._unsettled = Usage()
        self._report()

    def _report(self) -> None:
        if self.usage != self._reported:
            self._reported = self.usage
            self.on_usage(self._reported)


@dataclass(frozen=True, slots=True)
class ModelClient:
    """The connection of agent `name` to its model, shared by its proposals."""

    name: str
    settings: ModelSettings
    provider: Provider = field(repr=False)
    limiter: RateLimiter = field(repr=False)
    budget: Budget = field(repr=False)
    capabilities: Capabilities = field(default_factory=Capabilities, repr=False)

    async def ask(  # noqa: PLR0913 - what is asked, and how
        self,
        prompt: Prompt,
        turns: Sequence[Turn],
        bill: Bill,
        *,
        max_output: int | None = None,
        schema: Mapping[str, Any] | None = None,
        tries: int = MAX_TRIES,
    ) -> Reply:
        """Return the model's reply; every request is added to `bill`.

        Raises AgentError if no reply arrives, BudgetError if the budget has no room for the
        proposal's first request.
        """
        most = self.capabilities.max_output(self.settings)
        form = ReplyForm(min(most, max_output or most), schema)
        for failures in range(1, tries + 1):
            try:
                return await self._request(prompt, turns, form, bill)
            except CallError as error:
                bill.record_error(error.error_kind)
                if isinstance(error, TooLongError):
                    self.capabilities.window = error.window or self.capabilities.window
                wait_s = error.retry_after or 0.0
                if failures == tries or not error.retryable or wait_s > self.limiter.max_pause_s:
                    raise AgentError(
                        error.error_kind, self._located(error), bill.usage, wait_s
                    ) from None
                # after an overload the limiter pauses all callers, this one included
                if not isinstance(error, OverloadedError):
                    await asyncio.sleep(wait_s or self.limiter.backoff_s(failures))
            except PausedError as error:
                raise AgentError("rate", str(error), bill.usage, error.seconds) from None
            except BudgetError as error:
                if not bill.requests:
                    raise
                reason = f"no budget left to ask again: {error}"
                raise AgentError(bill.error_kind, reason, bill.usage) from None
            except RejectedError as error:
                bill.record_error("unavailable")
                reason = rejection_message(self.name, self.settings, error)
                raise AgentError("unavailable", reason, bill.usage) from None
        raise AssertionError("unreachable: the last try returns or raises")

    async def _request(
        self, prompt: Prompt, turns: Sequence[Turn], form: ReplyForm, bill: Bill
    ) -> Reply:
        """Make one request within budget and rate, and bill it however it ends.

        A request that is not settled (the reply has no token counts, is cut off, or the task is
        cancelled) stays at its maximum in budget and bill.
        """
        sent, output = max_tokens_of(prompt, turns), form.max_output
        price = self.settings.price or _NO_PRICE
        worst = price.max_usd(sent, output)
        async with (
            self.budget.reserve(worst, sent + output) as reservation,
            self.limiter.acquire() as began,
        ):
            bill.start_request(worst, sent + output)
            reservation.start()
            try:
                reply = await self._timed(prompt, turns, form)
            except (CallError, RejectedError) as error:
                if error.free:
                    reservation.settle(0.0, 0)
                    bill.cancel_request()
                if isinstance(error, OverloadedError):
                    self.limiter.back_off(began, error.retry_after)
                raise
            self.limiter.record_success(began)
            self.limiter.pause(reply.wait_s)
            if reply.tokens is not None:
                usd = price.usd(reply.tokens)
                reservation.settle(usd, reply.tokens.total_input + reply.tokens.output)
                bill.settle_request(usd, reply.tokens)
            return reply

    def _located(self, error: CallError) -> str:
        """Return what failed, with the address it failed at."""
        url = self.settings.url
        return str(error) if url in str(error) else f"{self.settings.model} at {url}: {error}"

    async def _timed(self, prompt: Prompt, turns: Sequence[Turn], form: ReplyForm) -> Reply:
        limit = self.settings.timeout_seconds
        try:
            async with asyncio.timeout(limit):
                return await self.provider.ask(prompt, turns, form)
        except TimeoutError:
            # not retried: that could cost the maximum again, and the next proposal asks anyway
            raise CallError("timeout", f"no answer in {limit:g} s", retryable=False) from None


def max_tokens_of(prompt: Prompt, turns: Sequence[Turn]) -> int:
    """Return an upper bound of a conversation's tokens: a token has at least one byte."""
    texts = (prompt.system, prompt.genome, prompt.request, *(turn.text for turn in turns))
    return sum(len(text.encode()) for text in texts) + _TEMPLATE_TOKENS + 64 * len(turns)


def rejection_message(name: str, settings: ModelSettings, error: RejectedError) -> str:
    """Return what the user must change before agent `name` can work."""
    agent = f"agent {name!r} in program.md ({settings.model} at {settings.url})"
    variable = settings.key_env
    match error.status:
        case HTTPStatus.UNAUTHORIZED if not variable:
            usual = DEFAULT_KEY_ENVS[settings.kind]
            fix = (
                "it requires a key, and none is sent to a `base_url` unless you say which: set"
                f" `api_key_env: {usual}`, or another variable that holds its key"
            )
        case HTTPStatus.UNAUTHORIZED:
            fix = f"it does not accept the key in {variable}: set it to a valid one"
        case HTTPStatus.PAYMENT_REQUIRED if not variable:
            fix = "it asks for payment: top up the account, or set `api_key_env`"
        case HTTPStatus.PAYMENT_REQUIRED:
            fix = f"the account of the key in {variable} is out of credit: top it up"
        case HTTPStatus.FORBIDDEN:
            whose = f"the key in {variable}" if variable else "a request without a key"
            fix = f"{whose} may not use this model: change `model` or `api_key_env`"
        case HTTPStatus.NOT_FOUND:
            fix = "no such model or address: correct `model` or `base_url`"
        case _:
            fix = "correct `model`, `base_url`, `effort` or `max_output_tokens`"
    return f"{agent}: {fix}; it answered: {error}"
