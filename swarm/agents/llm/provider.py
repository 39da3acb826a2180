"""What the wire formats have in common: a conversation goes out, a reply or an error comes in."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Literal, NoReturn, Protocol, TypeVar

import httpx2
from pydantic import Field, ValidationError

from swarm.agents.base import ErrorKind
from swarm.agents.llm.retry_after import quota_reset_s, retry_after_s
from swarm.agents.llm.settings import Tokens

MAX_REASON_CHARS = 300
"""The most of a provider's own words that we repeat."""

TokenCount = Annotated[int, Field(ge=0, le=10**12)]
"""Tokens as a provider counts them; what no model could ever have used is no count."""

Parsed = TypeVar("Parsed")

_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)

_OVERLOADED = (503, 529)

_TRANSIENT = (408, 409, 425, 500)

_NO_CREDIT_CODES = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}

_FILTER_CODES = {"content_filter", "content_policy_violation", "invalid_prompt"}


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation's beginning, cut where prompt caches can hold on to it.

    `system` is the same for the whole run, `genome` as long as the head stays, `request` for one
    proposal.
    """

    system: str
    genome: str
    request: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One message after the prompt."""

    role: Literal["assistant", "user"]
    text: str


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's answer.

    `ending` says why it stopped: done, refused (by the model or a filter, `detail` says why), or
    cut at the most tokens allowed. `tokens` is None where the provider did not count them;
    `wait_s` are the seconds its rate-limit headers ask for.
    """

    text: str
    ending: Literal["done", "refused", "cut"]
    tokens: Tokens | None
    wait_s: float = 0.0
    detail: str = ""


class CallError(Exception):
    """A call came to nothing.

    `free` says that it cost nothing for certain, `retryable` that the same call may succeed later,
    after `retry_after` seconds if the provider named them.
    """

    def __init__(
        self,
        error_kind: ErrorKind,
        reason: str,
        *,
        free: bool = False,
        retryable: bool = True,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.error_kind: ErrorKind = error_kind
        self.free, self.retryable, self.retry_after = free, retryable, retry_after


class OverloadedError(CallError):
    """The provider has too much to do: nobody should call it for a while."""


class RejectedError(Exception):
    """The provider will not answer such a call until the user mends something. It cost nothing."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.free = status, True


class Provider(Protocol):
    """One model behind one wire format. It never tries again by itself and holds no rate."""

    async def ask(self, prompt: Prompt, turns: Sequence[Turn]) -> Reply:
        """Make one call. Raises CallError or RejectedError; their texts never hold the key."""

    async def close(self) -> None:
        """Close the connections."""


def one_line(text: str, secret: str = "") -> str:
    """Return `text` as one short line of printable characters without `secret`."""
    if secret:
        text = text.replace(secret, "[key]")
    text = re.sub(r"\s+", " ", text[: 4 * MAX_REASON_CHARS]).strip()
    return "".join(char if char.isprintable() else "?" for char in text)[:MAX_REASON_CHARS]


def parse_body(body: bytes, parse: Callable[[bytes], Parsed]) -> Parsed:
    """Return `parse(body)`. Raises CallError where the body is not what the format promises."""
    try:
        return parse(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = one_line(f"the reply is not the JSON it should be: {where} {first['msg']}")
        raise CallError("malformed", reason) from None


def raise_for_status(response: httpx2.Response, message: str, code: str, secret: str) -> NoReturn:
    """Raise what an error status means. Providers bill nothing for what they turn away.

    A 5xx that is not the provider's own word may come from something between us and it, while
    the provider goes on and bills: that one is not free.
    """
    status, headers = response.status_code, response.headers
    reason = one_line(f"HTTP {status}: {message}", secret)
    wait = _wait(headers)
    if code in _NO_CREDIT_CODES:
        raise RejectedError(HTTPStatus.PAYMENT_REQUIRED, reason)
    if code in _FILTER_CODES:
        raise CallError("refusal", reason, free=True, retryable=False)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise OverloadedError("rate", reason, free=True, retry_after=wait)
    if status in _OVERLOADED:
        raise OverloadedError("server", reason, free=True, retry_after=wait)
    if status in _TRANSIENT or status > HTTPStatus.INTERNAL_SERVER_ERROR:
        raise CallError("server", reason, free=status in _TRANSIENT, retry_after=wait)
    raise RejectedError(status, reason)


def raise_for_connection(error: Exception) -> NoReturn:
    """Raise what an SDK's connection error means; its cause says whether anything was sent."""
    cause = error.__cause__
    what = type(cause or error).__name__
    if isinstance(cause, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError):
        raise RejectedError(0, f"no request can be made of these settings ({what})") from None
    free = isinstance(cause, _NEVER_SENT)
    if isinstance(cause, httpx2.TimeoutException) and not free:
        raise CallError("timeout", f"no answer in time ({what})", retryable=False) from None
    reason = f"could not connect ({what})" if free else f"the connection broke ({what})"
    raise CallError("network", reason, free=free) from None


def wait_before_next(headers: Mapping[str, str]) -> float:
    """Return the seconds for which a good reply's headers ask everybody to wait."""
    return quota_reset_s(headers)


def _wait(headers: Mapping[str, str]) -> float | None:
    asked = retry_after_s(headers)
    return asked if asked is not None else quota_reset_s(headers) or None
