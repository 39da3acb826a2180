"""Token counts read from answers, whole ones and streams of events. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from swarm.agents.gateway.requests import Api
from swarm.agents.llm.settings import Tokens
from swarm.agents.llm.token_counts import ChatUsage, MessageUsage, ResponseUsage

_USAGES: Mapping[Api, type[MessageUsage | ResponseUsage | ChatUsage]] = {
    "messages": MessageUsage,
    "responses": ResponseUsage,
    "chat": ChatUsage,
}
_ENDS = ("message_delta", "response.completed", "response.incomplete", "response.failed")
_BREAK = re.compile(rb"\r\n\r\n|\n\n|\r\r")


def tokens_of(api: Api, usage: object) -> Tokens | None:
    """Return the tokens of a `usage` object, None if it does not read."""
    try:
        return _USAGES[api].model_validate(usage).tokens
    except ValidationError:
        return None


def tokens_in_answer(api: Api, body: bytes) -> Tokens | None:
    """Return the tokens that a whole answer reports, None if it reports none."""
    answer = _object(body)
    return tokens_of(api, answer.get("usage")) if answer else None


@dataclass(slots=True)
class EventSplitter:
    """Splits a stream of bytes into server-sent events, each with the blank line that ends it."""

    _rest: bytes = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the events that `data` completes."""
        self._rest += data
        while found := _BREAK.search(self._rest):
            event, self._rest = self._rest[: found.end()], self._rest[found.end() :]
            yield event

    def end(self) -> bytes:
        """Return what no blank line has ended."""
        rest, self._rest = self._rest, b""
        return rest


@dataclass(slots=True)
class StreamUsage:
    """The token counts of one stream so far.

    tokens: the latest counts, None for none
    final: whether they are those of the whole answer
    overloaded: whether the stream said that the provider is overloaded
    """

    api: Api
    tokens: Tokens | None = None
    final: bool = False
    overloaded: bool = False
    _merged: dict[str, Any] = field(default_factory=dict)

    def take(self, event: bytes) -> bool:
        """Take in an event; return whether it holds nothing but the usage of a chat."""
        if b"usage" not in event and b"overloaded" not in event:
            return False
        told = _object(_data_of(event))
        if told is None:
            return False
        if told.get("type") == "error":
            self.overloaded = b"overloaded" in event
            return False
        usage, alone = self._usage_in(told), self.api == "chat" and told.get("choices") == []
        if isinstance(usage, dict):
            self._merged |= {name: value for name, value in usage.items() if value is not None}
            self.tokens = tokens_of(self.api, self._merged) or self.tokens
            self.final |= alone or told.get("type") in _ENDS
        return alone and isinstance(usage, dict)

    def end(self) -> None:
        """Note that the stream has ended as it should: a chat's latest counts are final then."""
        self.final |= self.api == "chat" and self.tokens is not None

    def _usage_in(self, told: Mapping[str, Any]) -> object:
        inner = told.get({"messages": "message", "responses": "response"}.get(self.api, ""))
        if isinstance(inner, dict) and inner.get("usage") is not None:
            return inner["usage"]
        return told.get("usage")


def _data_of(event: bytes) -> bytes:
    lines = event.splitlines()
    return b"\n".join(line[5:].strip() for line in lines if line.startswith(b"data:"))


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
