"""Forwards one call to the provider: metered, retried while it is overloaded, never with a key out.

What is known of an answer's cost is noted as it streams by; whether the client still listens does
not matter to that. The key is put in here and taken out of everything that comes back.

Not covered: Ollama's own API. Its compatible one, which is used here, cuts a prompt at the server's
length of context without a word: set OLLAMA_CONTEXT_LENGTH where the server is started.
"""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx2

from harness.contract import SetupError
from swarm.agents.base import AgentError
from swarm.agents.gateway.http_server import Exchange
from swarm.agents.gateway.lease import Lease
from swarm.agents.gateway.requests import Api, ModelRequest, RefusedRequestError, model_request
from swarm.agents.gateway.usage_reader import EventSplitter, StreamUsage, tokens_in_answer
from swarm.agents.llm import network
from swarm.agents.llm.budget import BudgetError
from swarm.agents.llm.client import rejection_message
from swarm.agents.llm.login import read_login
from swarm.agents.llm.meter import MeteredCall, UnwantedError
from swarm.agents.llm.provider import (
    CallError,
    OverloadedError,
    RejectedError,
    can_adapt_status,
    error_of,
    never_sent,
    reason_line,
    wait_before_next,
)
from swarm.agents.llm.rate_limiter import PausedError

MAX_TRIES = 5
"""Calls made for one request while the provider is overloaded; the client tries again as well."""

_SENT_ON = ("accept", "anthropic-version", "anthropic-beta")
"""Headers of the client that the provider gets: none that names an account."""

_SENT_WITH_LOGIN = ("openai-beta", "originator", "user-agent", "version")
"""Headers of Codex by which ChatGPT knows it."""

_GIVEN_BACK = ("content-type", "retry-after", "retry-after-ms", "request-id", "x-request-id")
_DEARER_BETAS = ("context-1m", "fast-mode")

_SUBSCRIPTION, _SUBSCRIPTION_BETA = "sk-ant-oat", "oauth-2025-04-20"
"""How a token of `claude setup-token` begins, and the beta by which it is taken for a key.

So a subscription pays for Claude Code without a login inside its sandbox; dollars are then what its
tokens would cost by the price.
"""

_LAST_WORD = {"x-should-retry": "false"}
_MAX_ERROR_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Failed:
    """An answer that is no success, as the client gets it."""

    status: int
    body: bytes
    headers: Mapping[str, str]


async def forward(exchange: Exchange, api: Api, lease: Lease, client: httpx2.AsyncClient) -> None:
    """Answer `exchange` with what the provider says to it."""
    try:
        while True:
            request = model_request(api, exchange.request.body, lease.settings, lease.known)
            failed = await _tried(exchange, request, lease, client)
            if failed is None or not _adapts(failed, request, lease):
                break
    except RefusedRequestError as error:
        exchange.answer(error.status, error_body(api, "invalid_request_error", str(error)))
    except BudgetError as error:
        lease.failure = error
        lease.give_up()
        text = f"the run's budget has no room for this call: {error}"
        body = error_body(api, "billing_error", text)
        exchange.answer(HTTPStatus.PAYMENT_REQUIRED, body, _LAST_WORD)
    except PausedError as error:
        lease.failure = AgentError("rate", str(error), lease.usage, error.seconds)
        lease.give_up()
        body = error_body(api, "rate_limit_error", str(error))
        wait = {"retry-after": f"{error.seconds:.0f}"}
        exchange.answer(HTTPStatus.TOO_MANY_REQUESTS, body, wait)
    except UnwantedError:
        return
    else:
        if failed is not None:
            lease.give_up()
            exchange.answer(failed.status, failed.body, failed.headers)


def fail(exchange: Exchange, api: Api, lease: Lease, error: Exception) -> None:
    """Note an error that is not the provider's, and answer with it unless an answer has begun.

    A bug is told with its traceback, once where the client tries again. Nobody else could tell:
    the agent behind the client is not ours, and a trial would be charged to its candidate.
    """
    key = lease.key
    if isinstance(error, SetupError):
        failure = AgentError("unavailable", reason_line(str(error), key), lease.usage)
    else:
        what = reason_line(f"{type(error).__name__}: {error}", key)
        reason = f"the gateway could not forward a call, which is a bug in swarm: {what}"
        failure = AgentError("server", reason, lease.usage)
        if str(failure) != str(lease.failure):
            told = "".join(traceback.format_exception(error))
            sys.stderr.write(told.replace(key, "[key]") if key else told)
    lease.failure = failure
    lease.give_up()
    if not exchange.started:
        body = error_body(api, "api_error", str(failure))
        exchange.answer(HTTPStatus.INTERNAL_SERVER_ERROR, body, _LAST_WORD)


async def _tried(
    exchange: Exchange, request: ModelRequest, lease: Lease, client: httpx2.AsyncClient
) -> _Failed | None:
    """Make a call, again while the provider is overloaded; None once the client has an answer."""
    for tries in range(1, MAX_TRIES + 1):
        failed: list[_Failed] = []
        try:
            wanted = _wanted(exchange, lease)
            async with lease.meter.call(request.sent, request.output, lease.bill, wanted) as call:
                await _Call(exchange, request, lease, client, call, failed).run()
        except (CallError, RejectedError) as error:
            _note(lease, error)
            longest = lease.meter.limiter.max_pause_s
            again = isinstance(error, OverloadedError) and (error.retry_after or 0) <= longest
            if tries < MAX_TRIES and again and not exchange.started:
                continue
            if exchange.started:
                lease.give_up()
            return _told(exchange, request.api, error, failed)
        lease.failure = None
        return None
    raise AssertionError("unreachable: the last try returns")


def _wanted(exchange: Exchange, lease: Lease) -> Any:  # noqa: ANN401 - a callable
    return lambda: exchange.client_waits and not lease.closed


def _note(lease: Lease, error: CallError | RejectedError) -> None:
    """Keep why the call failed, for the agent whose proposal it was."""
    if isinstance(error, RejectedError):
        reason = rejection_message(lease.meter.agent, lease.settings, error)
        lease.failure = AgentError("unavailable", reason, lease.usage)
        lease.bill.record_error("unavailable")
        return
    where = f"{lease.settings.model} at {lease.settings.url}"
    wait_s = error.retry_after or 0.0
    lease.failure = AgentError(error.error_kind, f"{where}: {error}", lease.usage, wait_s)
    lease.bill.record_error(error.error_kind)


def _told(
    exchange: Exchange, api: Api, error: CallError | RejectedError, failed: list[_Failed]
) -> _Failed | None:
    """Return what the client is told of a failed call, None if its answer had begun."""
    if exchange.started:
        return None  # the connection is closed before the answer's end
    if failed:
        return failed[0]
    kind = error.error_kind if isinstance(error, CallError) else ""
    status = HTTPStatus.GATEWAY_TIMEOUT if kind == "timeout" else HTTPStatus.BAD_GATEWAY
    return _Failed(status, error_body(api, "api_error", str(error)), {})


def _adapts(failed: _Failed, request: ModelRequest, lease: Lease) -> bool:
    """Return whether the provider refused a parameter of ours that can be left out."""
    if not can_adapt_status(failed.status, text := failed.body.decode(errors="replace")):
        return False
    return lease.known.adapt(text, request.added, request.output)


@dataclass(frozen=True, slots=True)
class _Call:
    """One call that is under way."""

    exchange: Exchange
    request: ModelRequest
    lease: Lease
    client: httpx2.AsyncClient
    call: MeteredCall
    failed: list[_Failed]

    async def run(self) -> None:
        """Send it and pass the answer on. Raises CallError or RejectedError."""
        settings = self.lease.settings
        try:
            async with asyncio.timeout(settings.timeout_seconds):
                await self._send()
        except TimeoutError:
            reason = f"no answer in {settings.timeout_seconds:g} s"
            raise CallError("timeout", reason, retryable=False) from None
        except httpx2.HTTPError as error:
            kind = type(error).__name__
            if never_sent(error):
                raise CallError("network", network.explain(error, settings), free=True) from None
            if isinstance(error, httpx2.TimeoutException):
                raise CallError("timeout", f"no answer in time ({kind})") from None
            raise CallError("network", f"the connection broke ({kind})") from None

    async def _send(self) -> None:
        async with self.client.stream(
            "POST",
            self._url,
            content=self.request.body,
            headers=self._headers,
            follow_redirects=False,  # the key is for this address
        ) as response:
            self.call.status = response.status_code
            if response.status_code != HTTPStatus.OK:
                await self._fail(response)
            self.call.wait_s = wait_before_next(response.headers)
            if "event-stream" in response.headers.get("content-type", ""):
                await self._pass_stream(response)
            else:
                await self._pass_answer(response)

    async def _fail(self, response: httpx2.Response) -> None:
        """Keep the answer for the client, without the key, and raise what it means."""
        body, key = await _read(response), self.lease.key
        message, code = _message_of(body)
        status, headers = response.status_code, response.headers
        if response.is_redirect:
            message = f"it redirects to {headers.get('location', '')}: correct `base_url`"
        self.failed.append(_Failed(status, self._clean(body), self._given_back(headers)))
        raise error_of(status, headers, message, code, key)

    async def _pass_answer(self, response: httpx2.Response) -> None:
        body = await response.aread()
        self.call.tokens = tokens_in_answer(self.request.api, body)
        self.exchange.answer(
            response.status_code, self._clean(body), self._given_back(response.headers)
        )

    async def _pass_stream(self, response: httpx2.Response) -> None:
        usage, events = StreamUsage(self.request.api), EventSplitter()
        self.exchange.start(response.status_code, self._given_back(response.headers))
        async for data in response.aiter_bytes():
            for event in events.feed(data):
                only_usage = usage.take(event)
                self._note(usage)
                if not (only_usage and self.request.hides_usage):
                    self.exchange.write(self._clean(event))
        self.exchange.write(self._clean(events.end()))
        self.exchange.end()
        if usage.overloaded:
            raise OverloadedError("server", "the provider became overloaded in its answer")

    def _note(self, usage: StreamUsage) -> None:
        self.call.tokens, self.call.output_told = usage.tokens, usage.final

    @property
    def _url(self) -> str:
        url = self.lease.settings.url.rstrip("/")
        paths = {
            "messages": "/v1/messages",
            "responses": "/responses",
            "chat": "/chat/completions",
        }
        return f"{url}{paths[self.request.api]}"

    @property
    def _headers(self) -> dict[str, str]:
        """The headers that the provider gets: a few of the client's, and the key."""
        given = self.exchange.request.headers
        headers = {name: given[name] for name in _SENT_ON if name in given}
        if "anthropic-beta" in headers:
            betas = [beta.strip() for beta in headers["anthropic-beta"].split(",")]
            headers["anthropic-beta"] = ",".join(
                beta for beta in betas if not beta.startswith(_DEARER_BETAS)
            )
        headers |= {
            "content-type": "application/json",
            "accept-encoding": "identity",
            "user-agent": "swarm",
        }
        key, file = self.lease.key, self.lease.settings.login
        if file:
            headers |= {name: given[name] for name in _SENT_WITH_LOGIN if name in given}
            account = read_login(self.lease.meter.agent, file).account
            headers |= {"chatgpt-account-id": account} if account else {}
        if self.request.api == "messages":
            headers.setdefault("anthropic-version", "2023-06-01")
            if key.startswith(_SUBSCRIPTION):
                both = filter(None, (headers.get("anthropic-beta"), _SUBSCRIPTION_BETA))
                login = {"authorization": f"Bearer {key}", "anthropic-beta": ",".join(both)}
                return headers | login
            return headers | ({"x-api-key": key} if key else {})
        return headers | ({"authorization": f"Bearer {key}"} if key else {})

    def _given_back(self, headers: Mapping[str, str]) -> dict[str, str]:
        return {name: headers[name] for name in _GIVEN_BACK if name in headers}

    def _clean(self, data: bytes) -> bytes:
        key = self.lease.key.encode()
        return data.replace(key, b"[key]") if key else data


def error_body(api: Api, kind: str, message: str) -> bytes:
    """Return an error as the clients of a wire format read it."""
    error = {"type": kind, "message": message}
    if api == "messages":
        return json.dumps({"type": "error", "error": error}).encode()
    return json.dumps({"error": error | {"param": None, "code": kind}}).encode()


async def _read(response: httpx2.Response) -> bytes:
    body = b""
    async for data in response.aiter_bytes():
        body += data
        if len(body) > _MAX_ERROR_BYTES:
            break
    return body[:_MAX_ERROR_BYTES]


def _message_of(body: bytes) -> tuple[str, str]:
    """Return the message and the code of an error's body."""
    try:
        told: Any = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    error = told.get("error") if isinstance(told, dict) else None
    if not isinstance(error, dict):
        return str(error or body.decode(errors="replace")), ""
    return str(error.get("message", "")), str(error.get("code") or error.get("type") or "")
