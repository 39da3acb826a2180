"""Ollama's own API, which takes the length of the context.

Its compatible API does not: it cuts a prompt at the server's default, often 4,096 tokens, without a
word, so that the model never sees the rules or the files.

Not covered: a server behind a proxy that hides `/api`; its context is then the server's default.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any

import httpx2
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from swarm.agents.llm import network, provider
from swarm.agents.llm.capabilities import Capabilities
from swarm.agents.llm.discovery import DISCOVERY_S
from swarm.agents.llm.provider import Reply, ReplyForm
from swarm.agents.llm.reasoning import answer_in
from swarm.agents.llm.settings import ModelSettings, Tokens
from swarm.agents.llm.token_counts import IF_READABLE, TokenCount
from swarm.agents.llm.tools import ToolCall

DEFAULT_CONTEXT_TOKENS = 16_384
"""Context that is asked for where program.md names none: memory is reserved for all of it."""


class _Function(BaseModel):
    name: str = ""
    arguments: dict[str, Any] = Field(default_factory=dict)


class _Call(BaseModel):
    function: _Function


class _Message(BaseModel):
    content: str | None = None
    thinking: str | None = None
    tool_calls: Annotated[list[_Call] | None, IF_READABLE] = None


class _Chat(BaseModel):
    """The fields we use of an answer; counts may be missing."""

    message: _Message
    done_reason: str | None = None
    prompt_eval_count: Annotated[TokenCount | None, IF_READABLE] = None
    eval_count: Annotated[TokenCount | None, IF_READABLE] = None

    @property
    def tokens(self) -> Tokens | None:
        if self.prompt_eval_count is None or self.eval_count is None:
            return None
        return Tokens(self.prompt_eval_count, self.eval_count)


class _Version(BaseModel):
    version: Annotated[str, Field(min_length=1)]


class _Show(BaseModel):
    model_info: dict[str, Any]

    @property
    def context(self) -> int | None:
        """The longest context that the model was made for."""
        return self._largest(".context_length")

    @property
    def parameters(self) -> int | None:
        """How many parameters the model has."""
        return self._largest(".parameter_count")

    def _largest(self, ending: str) -> int | None:
        found = [
            value
            for name, value in self.model_info.items()
            if name.endswith(ending) and isinstance(value, int) and value > 0
        ]
        return max(found, default=None)


class Ollama:
    """An Ollama server, if there is one at the address of the settings."""

    def __init__(self, settings: ModelSettings, key: str, capabilities: Capabilities) -> None:
        self._settings, self._key, self._capabilities = settings, key, capabilities
        self._root = settings.url.rstrip("/").removesuffix("/v1")
        self._http = network.http_client(settings)
        self._headers = {"authorization": f"Bearer {key}"} if key else {}

    async def discover(self) -> None:
        """Note whether it is Ollama, and the context to ask for."""
        try:
            found = await self._http.get(
                f"{self._root}/api/version", headers=self._headers, timeout=DISCOVERY_S
            )
            TypeAdapter(_Version).validate_json(found.content)
            told = await self._http.post(
                f"{self._root}/api/show",
                json={"model": self._settings.model},
                headers=self._headers,
                timeout=DISCOVERY_S,
            )
            shown = _Show.model_validate_json(told.content)
        except (httpx2.HTTPError, ValidationError):
            return
        wanted = self._settings.context_tokens or DEFAULT_CONTEXT_TOKENS
        self._capabilities.window = min(wanted, shown.context or wanted)
        self._capabilities.parameters = shown.parameters
        self._capabilities.native = True

    async def chat(
        self, messages: Sequence[Mapping[str, Any]], output: int, form: ReplyForm
    ) -> Reply:
        """Make one call. Raises CallError or RejectedError; their texts never hold the key."""
        while True:
            tools = self._tools(form)
            response = await self._posted(_as_ollama(messages), output, form, tools)
            if response.status_code == HTTPStatus.OK:
                break
            text = response.text[:1000]
            again = tools and provider.can_adapt(response, text)
            if not (again and self._capabilities.adapt(text, ["tools"], output)):
                provider.raise_for_status(response, text, "", self._key)
        body = provider.parse_body(response.content, _Chat.model_validate_json)
        text = body.message.content or answer_in(body.message.thinking or "")
        return Reply(
            text=text,
            ending="cut" if body.done_reason == "length" else "done",
            tokens=body.tokens,
            detail=body.done_reason or "",
            calls=tuple(
                ToolCall(f"call{n}", call.function.name, call.function.arguments)
                for n, call in enumerate(body.message.tool_calls or ())
            ),
        )

    def _tools(self, form: ReplyForm) -> list[dict[str, Any]]:
        """Return the tools to offer: none where it may call none now, which Ollama cannot say."""
        if "tools" in self._capabilities.refused or not form.may_call:
            return []
        return [{"type": "function", "function": tool.function} for tool in form.tools]

    async def _posted(
        self,
        messages: Sequence[Mapping[str, Any]],
        output: int,
        form: ReplyForm,
        tools: list[dict[str, Any]],
    ) -> httpx2.Response:
        asked: dict[str, Any] = {
            "model": self._settings.model,
            "messages": messages,
            "stream": False,
            "options": {"num_ctx": self._capabilities.window, "num_predict": output},
        }
        if form.schema is not None:
            asked["format"] = form.schema
        if tools:
            asked["tools"] = tools
        try:
            return await self._http.post(
                f"{self._root}/api/chat", json=asked, headers=self._headers
            )
        except httpx2.HTTPError as error:
            raise provider.CallError("network", network.explain(error, self._settings)) from None

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def _as_ollama(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return messages of chat completions as Ollama has them: calls without ids or JSON in text."""
    said = [{k: v for k, v in message.items() if k != "tool_call_id"} for message in messages]
    for message in said:
        if "tool_calls" in message:
            calls = [call["function"] for call in message["tool_calls"]]
            message["content"] = message["content"] or ""
            message["tool_calls"] = [
                {"function": {**call, "arguments": json.loads(call["arguments"])}} for call in calls
            ]
    return said
