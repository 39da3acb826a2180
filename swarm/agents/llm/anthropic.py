"""Anthropic's messages format.

The prompt has two cache breakpoints: after the system text and after the genome. A top-level
`cache_control` would put a single one on the request's last block, which differs in every
proposal: each call would pay for writing a cache entry that no later call reads. All islands share
the system text; all proposals on one head and the repairs of one conversation share the genome.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

import anthropic
import httpx2
from anthropic.types import CacheControlEphemeralParam, MessageParam, TextBlockParam
from pydantic import BaseModel

from swarm.agents.llm import provider
from swarm.agents.llm.provider import Prompt, Reply, TokenCount, Turn
from swarm.agents.llm.settings import ModelSettings, Tokens

_CACHE_CONTROL: CacheControlEphemeralParam = {"type": "ephemeral"}


class _Usage(BaseModel):
    input_tokens: TokenCount
    output_tokens: TokenCount
    cache_read_input_tokens: TokenCount | None = None
    cache_creation_input_tokens: TokenCount | None = None


class _Block(BaseModel):
    type: str
    text: str = ""


class _StopDetails(BaseModel):
    category: str | None = None
    explanation: str | None = None


class _Message(BaseModel):
    """The fields we use of a message, validated here: the SDK (2.12) does not validate."""

    content: list[_Block]
    stop_reason: str | None = None
    stop_details: _StopDetails | None = None
    usage: _Usage


class AnthropicModel:
    """A model behind Anthropic's messages format, at Anthropic or elsewhere."""

    def __init__(self, settings: ModelSettings, key: str) -> None:
        self._settings, self._key = settings, key
        self._client = anthropic.AsyncAnthropic(
            # with an empty key the SDK would look for other credentials on this machine
            api_key=key or "none",
            base_url=settings.url,
            max_retries=0,
            timeout=httpx2.Timeout(settings.timeout_seconds, connect=10.0),
        )

    async def ask(self, prompt: Prompt, turns: Sequence[Turn]) -> Reply:
        """Make one call. Raises CallError or RejectedError; their texts never hold the key."""
        try:
            raw = await self._client.messages.with_raw_response.create(
                model=self._settings.model,
                max_tokens=self._settings.max_output_tokens,
                system=[_text(prompt.system, cached=True)],
                messages=_messages(prompt, turns),
                thinking={"type": "adaptive"},
                output_config=self._output_config(),
            )
        except anthropic.APIStatusError as error:
            message, code = error.api_message or error.message, error.error_code or ""
            provider.raise_for_status(error.response, message, code, self._key)
        except anthropic.APIConnectionError as error:
            provider.raise_for_connection(error)
        body = provider.parse_body(raw.http_response.content, _Message.model_validate_json)
        return _reply(body, provider.wait_before_next(raw.headers))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _output_config(self) -> Any:  # noqa: ANN401 - the SDK's type lists the efforts of today
        return {"effort": self._settings.effort} if self._settings.effort else anthropic.omit


def _text(text: str, *, cached: bool = False) -> TextBlockParam:
    block = TextBlockParam(type="text", text=text)
    if cached:
        block["cache_control"] = _CACHE_CONTROL
    return block


def _messages(prompt: Prompt, turns: Sequence[Turn]) -> list[MessageParam]:
    first: MessageParam = {
        "role": "user",
        "content": [_text(prompt.genome, cached=True), _text(prompt.request)],
    }
    return [first, *(cast("MessageParam", _message(turn)) for turn in turns)]


def _message(turn: Turn) -> dict[str, str]:
    # the format forbids empty texts
    return {"role": turn.role, "content": turn.text.strip() or "(empty)"}


def _reply(message: _Message, pause: float) -> Reply:
    usage = message.usage
    return Reply(
        text="".join(block.text for block in message.content if block.type == "text"),
        ending=_ending(message.stop_reason),
        tokens=Tokens(
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_read_input_tokens or 0,
            usage.cache_creation_input_tokens or 0,
        ),
        wait_s=pause,
        detail=_detail(message.stop_details),
    )


def _ending(stop_reason: str | None) -> Literal["done", "refused", "cut"]:
    if stop_reason == "refusal":
        return "refused"
    return "cut" if stop_reason in ("max_tokens", "model_context_window_exceeded") else "done"


def _detail(details: _StopDetails | None) -> str:
    if details is None:
        return ""
    parts = (details.category or "", details.explanation or "")
    return provider.one_line(": ".join(part for part in parts if part))
