"""Token counts read from answers, whole ones and streams of events. Pure.

Streams report in many ways: the input first and the output last, running counts in each event, all
in one event at the end, zeros until then. A count of the output is final only where the answer has
said that it is complete; until then the most that it may have is charged.
"""

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
_ENDS = ("response.completed", "response.incomplete", "response.failed")
_FINISH = re.compile(rb'"(?:finish_reason|stop_reason)"\s*:\s*"\w')
"""By which a chat and a message say that they are complete."""

_BREAK = re.compile(rb"\r\n\r\n|\n\n|\r\r")


def tokens_of(api: Api, usage: object) -> Tokens | None:
    """Return the tokens of a `usage` object, None if it does not read or counts no input yet."""
    try:
        tokens = _USAGES[api].model_validate(usage).tokens
    except ValidationError:
        return None
    return tokens if tokens.total_input else None


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
    _finished: bool = False
    """Whether the answer has said why it ended, so that counts from then on are those of all."""

    _merged: dict[str, Any] = field(default_factory=dict)

    def take(self, event: bytes) -> bool:
        """Take in an event; return whether it holds nothing but the usage of a chat."""
        self._finished |= _FINISH.search(event) is not None
        if b"[DONE]" in event and _data_of(event) == b"[DONE]":
            self.final = self.tokens is not None
            return False
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
            self.tokens = tokens_of(self.api, self._merged)
            self.final = self.tokens is not None and (self._finished or told.get("type") in _ENDS)
        return alone and isinstance(usage, dict)

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
