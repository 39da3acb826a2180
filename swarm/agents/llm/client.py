"""One agent's calls: reserved in the budget, given a turn by the governor, tried again, billed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from harness.contract import SetupError
from islands.records import Usage
from swarm.agents.base import AgentError, ErrorKind
from swarm.agents.llm.budget import Budget, BudgetError
from swarm.agents.llm.provider import (
    CallError,
    OverloadedError,
    Prompt,
    Provider,
    RejectedError,
    Reply,
    Turn,
)
from swarm.agents.llm.rate_limiter import PausedError, RateLimiter
from swarm.agents.llm.settings import ModelSettings, Price, Tokens

MAX_TRIES = 5
"""How often one call is made before the proposal is given up."""

_NO_PRICE = Price(0.0, 0.0, 0.0, 0.0)

_TEMPLATE_TOKENS = 1024
"""Tokens that a provider's own chat template may add to a conversation; well above any known."""


@dataclass(slots=True)
class Bill:
    """What one proposal has cost so far, and what went wrong on the way, `error_kind` last.

    Every call that may have been billed without our being told, the one in the air too, counts at
    its worst, in dollars and in `tokens_untold`: whenever a proposal is cut short, its usage is
    what it may have cost. `on_usage` is told of the usage before each request goes out, and
    of a request that came to nothing before anybody else can reserve what it has left over.
    """

    on_usage: Callable[[Usage], None] = field(default=lambda _: None, repr=False)
    error_kind: ErrorKind = "malformed"
    error_kinds: list[ErrorKind] = field(default_factory=list)
    _settled: Usage = Usage()
    _unsettled: Usage = Usage()
    _reported: Usage = Usage()

    @property
    def usage(self) -> Usage:
        """What the proposal costs if nothing more is heard."""
        known, worst = self._settled, self._unsettled
        untold = known.tokens_untold + worst.tokens_untold
        return replace(known, usd=known.usd + worst.usd, tokens_untold=untold)

    def record_error(self, error_kind: ErrorKind) -> None:
        """Note what went wrong; a proposal that comes through all the same will tell of it."""
        self.error_kind = error_kind
        self.error_kinds.append(error_kind)
        self._report()

    def start_request(self, usd: float, tokens: int) -> None:
        """Say that a request goes out now which may cost so many dollars and tokens."""
        self._settled = replace(self.usage, calls=self.usage.calls + 1)
        self._unsettled = Usage(usd=usd, tokens_untold=tokens)
        self._report()

    def settle_request(self, usd: float, tokens: Tokens) -> None:
        """Say what the last request did cost."""
        known, self._unsettled = self._settled, Usage()
        sent, received = known.tokens_in + tokens.total_input, known.tokens_out + tokens.output
        total = known.usd + usd
        self._settled = replace(known, tokens_in=sent, tokens_out=received, usd=total)

    def cancel_request(self) -> None:
        """Say that the last request did cost nothing."""
        self._unsettled = Usage()
        self._report()

    def _report(self) -> None:
        if self.usage != self._reported:
            self._reported = self.usage
            self.on_usage(self._reported)


@dataclass(frozen=True, slots=True)
class ModelClient:
    """How agent `name` calls its model."""

    name: str
    settings: ModelSettings
    provider: Provider = field(repr=False)
    limiter: RateLimiter = field(repr=False)
    budget: Budget = field(repr=False)

    async def ask(self, prompt: Prompt, turns: Sequence[Turn], bill: Bill) -> Reply:
        """Return the model's reply; every request goes on `bill`.

        Raises AgentError where no reply could be had, BudgetError where not even the proposal's
        first request could be paid for, SetupError where the user must mend something.
        """
        for failures in range(1, MAX_TRIES + 1):
            try:
                return await self._request(prompt, turns, bill)
            except CallError as error:
                bill.record_error(error.error_kind)
                asked = error.retry_after or 0.0
                if failures == MAX_TRIES or not error.retryable or asked > self.limiter.max_pause_s:
                    raise AgentError(error.error_kind, str(error), bill.usage, asked) from None
                if not isinstance(error, OverloadedError):
                    await asyncio.sleep(asked or self.limiter.backoff_s(failures))
            except PausedError as error:
                raise AgentError("rate", str(error), bill.usage, error.seconds) from None
            except BudgetError as error:
                if not bill.usage.calls:
                    raise
                reason = f"the budget leaves no room to ask again: {error}"
                raise AgentError(bill.error_kind, reason, bill.usage) from None
            except RejectedError as error:
                raise SetupError(rejection_message(self.name, self.settings, error)) from None
        raise AssertionError("the last try returns or raises")

    async def _request(self, prompt: Prompt, turns: Sequence[Turn], bill: Bill) -> Reply:
        """Make one request: within the budget, at the governor's pace, billed however it ends.

        What is not settled, because the answer told no tokens, was cut off, or is no longer waited
        for, stays at its worst in budget and bill.
        """
        sent, output = max_tokens_of(prompt, turns), self.settings.max_output_tokens
        price = self.settings.price or _NO_PRICE
        worst = price.max_usd(sent, output)
        async with (
            self.budget.reserve(worst, sent + output) as held,
            self.limiter.acquire() as began,
        ):
            bill.start_request(worst, sent + output)
            held.start()
            try:
                reply = await self._timed(prompt, turns)
            except (CallError, RejectedError) as error:
                if error.free:
                    held.settle(0.0, 0)
                    bill.cancel_request()
                if isinstance(error, OverloadedError):
                    self.limiter.back_off(began, error.retry_after)
                raise
            self.limiter.record_success(began)
            self.limiter.pause(reply.wait_s)
            if reply.tokens is not None:
                usd = price.usd(reply.tokens)
                held.settle(usd, reply.tokens.total_input + reply.tokens.output)
                bill.settle_request(usd, reply.tokens)
            return reply

    async def _timed(self, prompt: Prompt, turns: Sequence[Turn]) -> Reply:
        limit = self.settings.timeout_seconds
        try:
            async with asyncio.timeout(limit):
                return await self.provider.ask(prompt, turns)
        except TimeoutError:
            # asking again would cost the whole of it once more, and the next proposal asks anyway
            raise CallError("timeout", f"no answer in {limit:g} s", retryable=False) from None


def max_tokens_of(prompt: Prompt, turns: Sequence[Turn]) -> int:
    """Return more tokens than a conversation can have: no token is shorter than a byte."""
    texts = (prompt.system, prompt.genome, prompt.request, *(turn.text for turn in turns))
    return sum(len(text.encode()) for text in texts) + _TEMPLATE_TOKENS + 64 * len(turns)


def rejection_message(name: str, settings: ModelSettings, error: RejectedError) -> str:
    """Say what the user must change before agent `name` can work."""
    where = f"agent {name!r} in program.md ({settings.model} at {settings.url})"
    variable = settings.key_env
    match error.status:
        case HTTPStatus.UNAUTHORIZED if not variable:
            cure = "it wants a key: name the environment variable that holds it as `api_key_env`"
        case HTTPStatus.UNAUTHORIZED:
            cure = f"set {variable} to a valid key and launch again"
        case HTTPStatus.PAYMENT_REQUIRED:
            cure = f"the account of {variable} is out of credit: top it up and launch again"
        case HTTPStatus.FORBIDDEN:
            cure = f"the key in {variable} may not use this model: change `model` or the key"
        case HTTPStatus.NOT_FOUND:
            cure = "it is not there: correct `model` or `base_url`"
        case _:
            cure = "correct `model`, `base_url`, `effort` or `max_output_tokens`"
    return f"{where}: {cure}; it answered: {error}"
