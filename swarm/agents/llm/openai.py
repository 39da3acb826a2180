"""OpenAI's two wire formats: Responses for its own models, chat completions for all others.

Ollama, vLLM, llama.cpp and hosted compatible servers implement chat completions; of Responses they
implement part or nothing. Prompt caches match equal beginnings by themselves here.

Not covered: a server that accepts only `max_completion_tokens` (we send `max_tokens`, which local
servers all accept).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NoReturn

import httpx2
import openai
from pydantic import BaseModel, Field

from swarm.agents.llm import provider
from swarm.agents.llm.provider import Prompt, Reply, TokenCount, Turn
from swarm.agents.llm.settings import ModelSettings, Tokens

Ending = Literal["done", "refused", "cut"]


class _Cached(BaseModel):
    """Cached tokens, read and written; both are included in the input tokens."""

    cached_tokens: TokenCount | None = None
    cache_write_tokens: TokenCount | None = None


class _ResponseUsage(BaseModel):
    input_tokens: TokenCount
    output_tokens: TokenCount
    input_tokens_details: _Cached | None = None

    @property
    def tokens(self) -> Tokens:
        return _tokens(self.input_tokens, self.output_tokens, self.input_tokens_details)


class _Part(BaseModel):
    type: str
    text: str = ""
    refusal: str = ""


class _Item(BaseModel):
    type: str
    content: list[_Part] | None = None


class _Why(BaseModel):
    reason: str | None = None


class _Fault(BaseModel):
    code: str | None = None
    message: str = ""


class _Response(BaseModel):
    """The fields we use of a response, validated here: the SDK (3.54) does not validate."""

    status: str | None = None
    output: list[_Item]
    incomplete_details: _Why | None = None
    error: _Fault | None = None
    usage: _ResponseUsage | None = None


class _ChatUsage(BaseModel):
    prompt_tokens: TokenCount
    completion_tokens: TokenCount
    prompt_tokens_details: _Cached | None = None

    @property
    def tokens(self) -> Tokens:
        return _tokens(self.prompt_tokens, self.completion_tokens, self.prompt_tokens_details)


class _ChatMessage(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _ChatMessage
    finish_reason: str | None = None


class _Completion(BaseModel):
    """The fields we use of a chat completion."""

    choices: list[_Choice] = Field(min_length=1)
    usage: _ChatUsage | None = None


class _Client:
    """The SDK's client as both formats use it: no retries of its own."""

    def __init__(self, settings: ModelSettings, key: str) -> None:
        self._settings, self._key = settings, key
        self._client = openai.AsyncOpenAI(
            # the SDK requires a key; servers that need none ignore it
            api_key=key or "none",
            base_url=settings.url,
            max_retries=0,
            timeout=httpx2.Timeout(settings.timeout_seconds, connect=10.0),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _raise(self, error: openai.APIStatusError | openai.APIConnectionError) -> NoReturn:
        if isinstance(error, openai.APIStatusError):
            code = error.code or error.type or ""
            provider.raise_for_status(error.response, error.message, code, self._key)
        provider.raise_for_connection(error)

    def _effort(self) -> Any:  # noqa: ANN401 - the SDK's type lists the efforts of today
        return self._settings.effort or openai.omit


class ResponsesModel(_Client):
    """One of OpenAI's own models, through Responses; nothing is stored at OpenAI."""

    async def ask(self, prompt: Prompt, turns: Sequence[Turn]) -> Reply:
        """Make one call. Raises CallError or RejectedError; their texts never hold the key."""
        effort = self._settings.effort
        messages: Any = _messages(prompt, turns)
        try:
            raw = await self._client.responses.with_raw_response.create(
                model=self._settings.model,
                instructions=prompt.system,
                input=messages,
                max_output_tokens=self._settings.max_output_tokens,
                reasoning={"effort": self._effort()} if effort else openai.omit,
                store=False,
            )
        except (openai.APIStatusError, openai.APIConnectionError) as error:
            self._raise(error)
        body = provider.parse_body(raw.http_response.content, _Response.model_validate_json)
        return _from_response(body, provider.wait_before_next(raw.headers))


class ChatModel(_Client):
    """A model behind chat completions."""

    async def ask(self, prompt: Prompt, turns: Sequence[Turn]) -> Reply:
        """Make one call. Raises CallError or RejectedError; their texts never hold the key."""
        messages: Any = [{"role": "system", "content": prompt.system}, *_messages(prompt, turns)]
        try:
            raw = await self._client.chat.completions.with_raw_response.create(
                model=self._settings.model,
                messages=messages,
                max_tokens=self._settings.max_output_tokens,
                reasoning_effort=self._effort(),
            )
        except (openai.APIStatusError, openai.APIConnectionError) as error:
            self._raise(error)
        body = provider.parse_body(raw.http_response.content, _Completion.model_validate_json)
        return _from_completion(body, provider.wait_before_next(raw.headers))


def _messages(prompt: Prompt, turns: Sequence[Turn]) -> list[dict[str, str]]:
    first = {"role": "user", "content": f"{prompt.genome}\n\n{prompt.request}"}
    return [first, *({"role": turn.role, "content": turn.text or "(empty)"} for turn in turns)]


def _tokens(sent: int, output: int, cached: _Cached | None) -> Tokens:
    cached = cached or _Cached()
    read, write = cached.cached_tokens or 0, cached.cache_write_tokens or 0
    return Tokens(max(sent - read - write, 0), output, read, write)


def _from_response(body: _Response, pause: float) -> Reply:
    if body.status == "failed":
        fault = body.error or _Fault()
        reason = provider.one_line(f"the response failed: {fault.code} {fault.message}")
        raise provider.CallError("server", reason)
    parts = [part for item in body.output for part in item.content or ()]
    refusal = "".join(part.refusal for part in parts if part.type == "refusal")
    why = body.incomplete_details.reason if body.incomplete_details else None
    return Reply(
        text="".join(part.text for part in parts if part.type == "output_text"),
        ending=_ending(
            refused=bool(refusal) or why == "content_filter", cut=body.status == "incomplete"
        ),
        tokens=body.usage.tokens if body.usage else None,
        wait_s=pause,
        detail=provider.one_line(refusal or why or ""),
    )


def _from_completion(body: _Completion, pause: float) -> Reply:
    choice = body.choices[0]
    refusal, finish = choice.message.refusal or "", choice.finish_reason or ""
    return Reply(
        text=choice.message.content or "",
        ending=_ending(refused=bool(refusal) or finish == "content_filter", cut=finish == "length"),
        tokens=body.usage.tokens if body.usage else None,
        wait_s=pause,
        detail=provider.one_line(refusal or finish),
    )


def _ending(*, refused: bool, cut: bool) -> Ending:
    if refused:
        return "refused"
    return "cut" if cut else "done"
