"""A model client that reserves budget, limits its rate, retries, and bills each request."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from swarm.agents.base import AgentError
from swarm.agents.llm.budget import BudgetError
from swarm.agents.llm.capabilities import Capabilities
from swarm.agents.llm.meter import Bill, Meter
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
from swarm.agents.llm.rate_limiter import PausedError
from swarm.agents.llm.settings import DEFAULT_KEY_ENVS, ModelSettings, place_of
from swarm.agents.llm.tools import Tool

MAX_TRIES = 5
"""Requests made for one reply before the proposal fails."""

_TEMPLATE_TOKENS = 1024
"""Tokens that a provider's chat template may add to a conversation; well above any known."""

_TOOL_TOKENS = 4096
"""Tokens that the tools' descriptions take at most, with what a template adds to them."""


@dataclass(frozen=True, slots=True)
class ModelClient:
    """The connection of an agent to its model, shared by its proposals."""

    meter: Meter
    provider: Provider = field(repr=False)
    capabilities: Capabilities = field(default_factory=Capabilities, repr=False)

    @property
    def settings(self) -> ModelSettings:
        """The settings of the model."""
        return self.meter.settings

    async def ask(  # noqa: PLR0913 - what is asked, and how
        self,
        prompt: Prompt,
        turns: Sequence[Turn],
        bill: Bill,
        *,
        max_output: int | None = None,
        schema: Mapping[str, Any] | None = None,
        tools: tuple[Tool, ...] = (),
        may_call: bool = True,
        tries: int = MAX_TRIES,
    ) -> Reply:
        """Return the model's reply; every request is added to `bill`.

        `tools`, `may_call`: as in `ReplyForm`.

        Raises AgentError if no reply arrives, BudgetError if the budget has no room for the
        proposal's first request.
        """
        most = self.capabilities.max_output(self.settings)
        form = ReplyForm(min(most, max_output or most), schema, tools, may_call)
        limiter = self.meter.limiter
        for failures in range(1, tries + 1):
            try:
                return await self._request(prompt, turns, form, bill)
            except CallError as error:
                bill.record_error(error.error_kind)
                if isinstance(error, TooLongError):
                    self.capabilities.window = error.window or self.capabilities.window
                wait_s = error.retry_after or 0.0
                if failures == tries or not error.retryable or wait_s > limiter.max_pause_s:
                    raise AgentError(
                        error.error_kind, self._located(error), bill.usage, wait_s
                    ) from None
                # after an overload the limiter pauses all callers, this one included
                if not isinstance(error, OverloadedError):
                    await asyncio.sleep(wait_s or limiter.backoff_s(failures))
            except PausedError as error:
                raise AgentError("rate", str(error), bill.usage, error.seconds) from None
            except BudgetError as error:
                if not bill.requests:
                    raise
                reason = f"no budget left to ask again: {error}"
                raise AgentError(bill.error_kind, reason, bill.usage) from None
            except RejectedError as error:
                bill.record_error("unavailable")
                reason = rejection_message(self.meter.agent, self.settings, error)
                raise AgentError("unavailable", reason, bill.usage) from None
        raise AssertionError("unreachable: the last try returns or raises")

    async def _request(
        self, prompt: Prompt, turns: Sequence[Turn], form: ReplyForm, bill: Bill
    ) -> Reply:
        """Make one request within budget and rate, and bill it however it ends.

        A request that is not settled (the reply has no token counts, is cut off, or the task is
        cancelled) stays at its maximum in budget and bill.
        """
        sent = max_tokens_of(prompt, turns) + (_TOOL_TOKENS if form.tools else 0)
        async with self.meter.call(sent, form.max_output, bill) as call:
            reply = await self._timed(prompt, turns, form)
            call.status = HTTPStatus.OK
            call.tokens, call.wait_s = reply.tokens, reply.wait_s
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
    texts = (prompt.system, prompt.genome, prompt.request)
    sent = sum(len(text.encode()) for text in texts) + sum(turn.size for turn in turns)
    results = sum(1 + len(turn.results) for turn in turns)
    return sent + _TEMPLATE_TOKENS + 64 * results


def rejection_message(name: str, settings: ModelSettings, error: RejectedError) -> str:
    """Return what the user must change before agent `name` can work."""
    agent = f"{place_of(name)} ({settings.model} at {settings.url})"
    variable = settings.key_env
    match error.status:
        case HTTPStatus.UNAUTHORIZED if settings.login:
            fix = f"it does not accept the login in {settings.login}: run `codex login`"
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
