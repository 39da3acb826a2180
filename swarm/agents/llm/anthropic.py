"""Anthropic's messages format.

The prompt has two cache breakpoints: after the system text and after the genome. A top-level
`cache_control` would put a single one on the request's last block, which differs in every
proposal: each call would pay for writing a cache entry that no later call reads. All islands share
the system text; all proposals on one head and the repairs of one conversation share the genome.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast

import anthropic
import httpx2
from anthropic.types import CacheControlEphemeralParam, MessageParam, TextBlockParam
from pydantic import BaseModel, ConfigDict, Field

from swarm.agents.llm import network, provider
from swarm.agents.llm.capabilities import Capabilities
from swarm.agents.llm.provider import Prompt, Reply, ReplyForm, Turn
from swarm.agents.llm.reasoning import answer_in
from swarm.agents.llm.settings import ModelSettings
from swarm.agents.llm.token_counts import IF_READABLE, MessageUsage
from swarm.agents.llm.tools import ToolCall

_CACHE_CONTROL: CacheControlEphemeralParam = {"type": "ephemeral"}


class _Block(BaseModel):
    model_config = ConfigDict(extra="allow")

    type: str
    text: str = ""
    thinking: str = ""
    id: str = ""
    name: str = ""
    input: Annotated[dict[str, Any], Field(default_factory=dict)]


class _StopDetails(BaseModel):
    category: str | None = None
    explanation: str | None = None


class _Message(BaseModel):
    """The fields we use of a message, validated here: the SDK (2.12) does not validate."""

    content: list[_Block] | None = None
    stop_reason: str | None = None
    stop_details: _StopDetails | None = None
    usage: Annotated[MessageUsage | None, IF_READABLE] = None


class AnthropicModel:
    """A model behind Anthropic's messages format, at Anthropic or elsewhere."""

    def __init__(
        self, settings: ModelSettings, key: str, capabilities: Capabilities | None = None
    ) -> None:
        self._settings, self._key = settings, key
        self._capabilities = capabilities or Capabilities()
        self._client = anthropic.AsyncAnthropic(
            # with an empty key the SDK would look for other credentials on this machine
            api_key=key or "none",
            base_url=settings.url,
            max_retries=0,
            timeout=httpx2.Timeout(settings.timeout_seconds, connect=network.CONNECT_S),
            http_client=network.http_client(settings),
            default_headers=network.own_headers(settings, key or "none", anthropic.Omit()),
        )

    async def ask(self, prompt: Prompt, turns: Sequence[Turn], form: ReplyForm) -> Reply:
        """Make one call. Raises CallError or RejectedError; their texts never hold the key."""
        while True:
            output = min(form.max_output, self._capabilities.max_output(self._settings))
            optional = self._optional(form)
            try:
                raw = await self._client.messages.with_raw_response.create(
                    model=self._settings.model,
                    max_tokens=output,
                    system=[self._text(prompt.system, cached=True)],
                    messages=self._messages(prompt, turns),
                    **optional,
                )
            except anthropic.APIStatusError as error:
                message, code = error.api_message or error.message, error.error_code or ""
                sent = [*optional, "cache_control"]
                if provider.can_adapt(error.response, message) and self._capabilities.adapt(
                    message, sent, output
                ):
                    continue
                provider.raise_for_status(error.response, message, code, self._key)
            except anthropic.APIConnectionError as error:
                provider.raise_for_connection(error, self._settings)
            body = provider.parse_body(raw.http_response.content, _Message.model_validate_json)
            return _reply(body, provider.wait_before_next(raw.headers))

    async def discover(self) -> None:
        """Ask nothing: the format has no way to ask that all its servers know."""

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _optional(self, form: ReplyForm) -> dict[str, Any]:
        """Return the parameters that some models or gateways refuse."""
        config: dict[str, Any] = {}
        if self._settings.effort:
            config["effort"] = self._settings.effort
        if form.schema is not None:
            config["format"] = {"type": "json_schema", "schema": form.schema}
        optional: dict[str, Any] = {"thinking": {"type": "adaptive"}}
        if config:
            optional["output_config"] = config
        if form.tools:
            optional["tools"] = [
                {
                    "name": tool.name,
                    "description": tool.description,
                    "input_schema": tool.parameters,
                }
                for tool in form.tools
            ]
        taken = {
            name: value
            for name, value in optional.items()
            if name not in self._capabilities.refused
        }
        if "tools" in taken and not form.may_call:
            taken["tool_choice"] = {"type": "none"}
        return taken

    def _text(self, text: str, *, cached: bool = False) -> TextBlockParam:
        block = TextBlockParam(type="text", text=text)
        if cached and "cache_control" not in self._capabilities.refused:
            block["cache_control"] = _CACHE_CONTROL
        return block

    def _messages(self, prompt: Prompt, turns: Sequence[Turn]) -> list[MessageParam]:
        first: MessageParam = {
            "role": "user",
            "content": [self._text(prompt.genome, cached=True), self._text(prompt.request)],
        }
        return [first, *(cast("MessageParam", _message(turn)) for turn in turns)]


def _message(turn: Turn) -> dict[str, Any]:
    if turn.raw is not None:
        return {"role": turn.role, "content": turn.raw}
    if turn.results:
        content: list[dict[str, Any]] = [
            {"type": "tool_result", "tool_use_id": result.call.id, "content": result.text}
            for result in turn.results
        ]
        if turn.text:
            content.append({"type": "text", "text": turn.text})
        return {"role": turn.role, "content": content}
    # the format forbids empty texts
    return {"role": turn.role, "content": turn.text.strip() or "(empty)"}


def _reply(message: _Message, pause: float) -> Reply:
    blocks = message.content or []
    text = "".join(block.text for block in blocks if block.type == "text")
    calls = tuple(
        ToolCall(block.id, block.name, block.input) for block in blocks if block.type == "tool_use"
    )
    return Reply(
        text=text or answer_in("".join(block.thinking for block in blocks)),
        ending=_ending(message.stop_reason),
        tokens=message.usage.tokens if message.usage else None,
        wait_s=pause,
        detail=_detail(message.stop_details),
        calls=calls,
        # with the signatures of its thoughts, which it wants back beside the calls
        raw=[block.model_dump(exclude_unset=True) for block in blocks] if calls else None,
    )


def _ending(stop_reason: str | None) -> Literal["done", "refused", "cut"]:
    if stop_reason == "refusal":
        return "refused"
    return "cut" if stop_reason in ("max_tokens", "model_context_window_exceeded") else "done"


def _detail(details: _StopDetails | None) -> str:
    if details is None:
        return ""
    parts = (details.category or "", details.explanation or "")
    return provider.reason_line(": ".join(part for part in parts if part))
