"""The provider protocol, and what its wire formats share: prompts, replies, errors."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal, NoReturn, Protocol, TypeVar

import httpx2
from pydantic import ValidationError

from harness.contract import one_line
from swarm.agents.base import ErrorKind
from swarm.agents.llm.network import explain
from swarm.agents.llm.retry_after import quota_reset_s, retry_after_s
from swarm.agents.llm.settings import ModelSettings, Tokens
from swarm.agents.llm.tools import Tool, ToolCall, ToolResult

MAX_REASON_CHARS = 300
"""Characters of a provider's own text that an error repeats."""

Parsed = TypeVar("Parsed")

_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)

_OVERLOADED = (503, 529)

_TRANSIENT = (408, 409, 425, 500)

_NO_CREDIT_CODES = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}

_FILTER_CODES = {"content_filter", "content_policy_violation", "invalid_prompt"}


_FOR_THE_USER = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.PAYMENT_REQUIRED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
)
"""What no other prompt would change."""

_TOO_LONG = re.compile(
    r"context[ _-]?(?:length|window|size)|(?:prompt|input) is too long|too many input tokens"
    r"|maximum (?:context|prompt|input)|exceeds? the (?:available |maximum )?context"
    r"|reduce the length|request[ _]too[ _]large|string_above_max_length",
    re.IGNORECASE,
)
"""Seen: OpenAI, Anthropic (`prompt is too long: 210000 tokens > 200000 maximum`), vLLM, llama.cpp
(`exceeds the available context size (4096 tokens)`), Ollama, OpenRouter, Groq."""

_WINDOW = re.compile(
    r"context[ _-]?(?:length|window|size)\D{0,30}?(\d[\d,]{2,})|> ?(\d[\d,]{2,})", re.IGNORECASE
)


_PAGE = re.compile(r"<(?:!doctype|html|head|body)\b", re.IGNORECASE)
_MARKUP = re.compile(
    r"<(style|script|head)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)|<[^>]*>?",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """The beginning of a conversation, split where prompt caches can reuse it.

    `system`: the same for the whole run.
    `genome`: the same until the head changes.
    `request`: for one proposal.
    `lines`: those that an answer picks from, () where it quotes what it changes (line_edits.py).
    """

    system: str
    genome: str
    request: str
    lines: tuple[str, ...] = ()

    @property
    def chars(self) -> int:
        """Its length in characters."""
        return len(self.system) + len(self.genome) + len(self.request)


@dataclass(frozen=True, slots=True)
class Turn:
    """One message after the prompt.

    `calls`: the tools that the assistant calls; `raw`: its message as its provider wants it back
    (a signature of its thoughts, say), None for nothing but text and calls.
    `results`: the user's answers to the calls of the turn before.
    """

    role: Literal["assistant", "user"]
    text: str
    calls: tuple[ToolCall, ...] = ()
    raw: Any = None
    results: tuple[ToolResult, ...] = ()

    @property
    def size(self) -> int:
        """Its length in bytes at most, as a provider may count it."""
        size = len(self.text.encode())
        if self.raw is not None:
            size += len(json.dumps(self.raw).encode())
        size += sum(len(json.dumps(dict(call.arguments)).encode()) for call in self.calls)
        return size + sum(len(result.text.encode()) for result in self.results)


@dataclass(frozen=True, slots=True)
class ReplyForm:
    """What a reply may be: at most so many tokens, and JSON of a `schema` if there is one.

    `tools`: what the model may call; `may_call`: whether it may now, where it did before.
    """

    max_output: int
    schema: Mapping[str, Any] | None = None
    tools: tuple[Tool, ...] = ()
    may_call: bool = True


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's reply.

    `ending`: done, refused (by the model or a filter; `detail` says why), or cut off at the most
    tokens allowed.
    `tokens`: None if the provider did not count them.
    `wait_s`: seconds to wait before the next request, by its rate-limit headers.
    `calls`, `raw`: as in `Turn`.
    """

    text: str
    ending: Literal["done", "refused", "cut"]
    tokens: Tokens | None
    wait_s: float = 0.0
    detail: str = ""
    calls: tuple[ToolCall, ...] = ()
    raw: Any = None


class CallError(Exception):
    """A request that brought no reply.

    `free`: it certainly cost nothing.
    `retryable`: the same request may succeed later.
    `retry_after`: seconds to wait first; None if the provider named none.
    `status`: the HTTP status, 0 if no answer came.
    """

    status = 0

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


class TooLongError(CallError):
    """The prompt is longer than the model's context; `window`: its tokens, None if not told."""

    def __init__(self, reason: str, window: int | None = None) -> None:
        super().__init__("too_long", reason, free=True, retryable=False)
        self.window = window


class OverloadedError(CallError):
    """The provider is overloaded: all callers should pause."""


class RejectedError(Exception):
    """The provider rejects every request until the user fixes something. It cost nothing."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.free = status, True


class Provider(Protocol):
    """One model behind one wire format. It does not retry and does not limit its rate.

    A request that is refused for a parameter is made again without it (see capabilities.py).
    """

    async def ask(self, prompt: Prompt, turns: Sequence[Turn], form: ReplyForm) -> Reply:
        """Make one request. Raises CallError or RejectedError, which never show the key."""

    async def discover(self) -> None:
        """Find out what the server says about the model, at no cost; raise nothing."""

    async def close(self) -> None:
        """Close the connections."""


def reason_line(text: str, secret: str = "") -> str:
    """Return `text` as one short line of printable characters without `secret`.

    Of a page, as proxies answer one, only what a person would read.
    """
    if secret:
        text = text.replace(secret, "[key]")
    if _PAGE.search(text[:MAX_REASON_CHARS]):
        text = html.unescape(_MARKUP.sub(" ", text[: 32 * MAX_REASON_CHARS]))
    return one_line(text, MAX_REASON_CHARS)


def parse_body(body: bytes, parse: Callable[[bytes], Parsed]) -> Parsed:
    """Return `parse(body)`. Raises CallError if the body does not match the format.

    A page is what a proxy or a wrong address answers: its words say more than a parser's.
    """
    try:
        return parse(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        found = f"{path} {first['msg']}".lstrip()
        start = body[: 32 * MAX_REASON_CHARS].decode(errors="replace")
        if _PAGE.search(start[:MAX_REASON_CHARS]):
            found = (
                f"a web page that says {reason_line(start)!r}; correct `base_url`, or sign in there"
            )
        reason = reason_line(f"the reply does not match the API's format: {found}")
        raise CallError("malformed", reason) from None


def raise_for_status(response: httpx2.Response, message: str, code: str, secret: str) -> NoReturn:
    """Raise the error that an HTTP status means (see `error_of`)."""
    raise error_of(response.status_code, response.headers, message, code, secret)


def error_of(
    status: int, headers: Mapping[str, str], message: str, code: str, secret: str
) -> CallError | RejectedError:
    """Return the error that an HTTP status means. Providers do not bill requests they reject.

    A 5xx other than the provider's own may come from a proxy while the provider works on and
    bills: it is not free.
    """
    error = _classified(status, headers, message, code, secret)
    if isinstance(error, CallError):
        error.status = status
    return error


def _classified(  # noqa: PLR0911 - a table of statuses
    status: int, headers: Mapping[str, str], message: str, code: str, secret: str
) -> CallError | RejectedError:
    reason = reason_line(f"HTTP {status}: {message}", secret)
    wait = _wait(headers)
    if code in _NO_CREDIT_CODES:
        return RejectedError(HTTPStatus.PAYMENT_REQUIRED, reason)
    if code in _FILTER_CODES:
        return CallError("refusal", reason, free=True, retryable=False)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return OverloadedError("rate", reason, free=True, retry_after=wait)
    if status in _OVERLOADED:
        return OverloadedError("server", reason, free=True, retry_after=wait)
    if status in _TRANSIENT or status > HTTPStatus.INTERNAL_SERVER_ERROR:
        return CallError("server", reason, free=status in _TRANSIENT, retry_after=wait)
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or _is_too_long(f"{code} {message}"):
        return TooLongError(reason, window_of(message))
    if status in _FOR_THE_USER:
        return RejectedError(status, reason)
    return CallError("rejected", reason, free=True, retryable=False)


def can_adapt(response: httpx2.Response, message: str) -> bool:
    """Return whether a refusal may be due to a parameter."""
    return can_adapt_status(response.status_code, message)


def can_adapt_status(status: int, message: str) -> bool:
    """Return whether a refusal with this HTTP status may be due to a parameter.

    llama.cpp refuses tools with 500 where it was started without `--jinja`.
    """
    bad = status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)
    bad = bad or (status == HTTPStatus.INTERNAL_SERVER_ERROR and "--jinja" in message)
    return bad and not _is_too_long(message)


def never_sent(error: object) -> bool:
    """Return whether an error of the HTTP client says that nothing was sent, so nothing billed."""
    return isinstance(error, _NEVER_SENT)


def _is_too_long(text: str) -> bool:
    return _TOO_LONG.search(text[:4_000]) is not None


def window_of(text: str) -> int | None:
    """Return the tokens of a context window that an error names, None if it names none."""
    found = _WINDOW.search(text[:4_000])
    return int((found[1] or found[2]).replace(",", "")) if found else None


def raise_for_connection(error: Exception, settings: ModelSettings) -> NoReturn:
    """Raise the error that an SDK's connection error means; its cause says if anything was sent."""
    cause = error.__cause__
    kind = type(cause or error).__name__
    if isinstance(cause, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError):
        raise RejectedError(
            0, f"no valid request can be made from these settings ({kind})"
        ) from None
    free = never_sent(cause)
    if isinstance(cause, httpx2.TimeoutException) and not free:
        raise CallError("timeout", f"no answer in time ({kind})", retryable=False) from None
    reason = explain(error, settings) if free else f"the connection broke ({kind})"
    raise CallError("network", reason, free=free) from None


def wait_before_next(headers: Mapping[str, str]) -> float:
    """Return the seconds for which a good reply's headers ask everybody to wait."""
    return quota_reset_s(headers)


def _wait(headers: Mapping[str, str]) -> float | None:
    wait_s = retry_after_s(headers)
    return wait_s if wait_s is not None else quota_reset_s(headers) or None
