"""OpenAI's two wire formats: Responses for its own models, chat completions for all others.

Ollama, vLLM, llama.cpp and hosted compatible servers implement chat completions; of Responses they
implement part or nothing. Prompt caches match equal beginnings by themselves here.

Chat completions are asked for with `max_tokens`, which local servers all accept, and where that is
refused with `max_completion_tokens`; and as a stream where a server knows nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal, NoReturn

import httpx2
import openai
from openai.types.chat import ChatCompletionChunk
from openai.types.chat.chat_completion_chunk import ChoiceDeltaToolCall
from pydantic import BaseModel, Field

from swarm.agents.llm import discovery, network, provider
from swarm.agents.llm.capabilities import Capabilities
from swarm.agents.llm.ollama import Ollama
from swarm.agents.llm.provider import Prompt, Reply, ReplyForm, Turn
from swarm.agents.llm.reasoning import answer_in
from swarm.agents.llm.settings import ModelSettings
from swarm.agents.llm.token_counts import IF_READABLE, ChatUsage, ResponseUsage
from swarm.agents.llm.tools import Tool, ToolCall, arguments_of

Ending = Literal["done", "refused", "cut"]

_TEXT_PARTS = ("text", "output_text")


class _Part(BaseModel):
    type: str
    text: str = ""
    refusal: str = ""


class _Item(BaseModel):
    type: str
    content: list[_Part] | None = None
    call_id: str = ""
    name: str = ""
    arguments: str = ""


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
    usage: Annotated[ResponseUsage | None, IF_READABLE] = None


class _Function(BaseModel):
    name: str = ""
    arguments: str = ""


class _Call(BaseModel):
    id: str = ""
    function: _Function


class _ChatMessage(BaseModel):
    tool_calls: Annotated[list[_Call] | None, IF_READABLE] = None
    content: str | list[_Part] | None = None
    refusal: str | None = None
    reasoning_content: Annotated[str | None, IF_READABLE] = None
    reasoning: Annotated[str | None, IF_READABLE] = None

    @property
    def text(self) -> str:
        """The answer; from the end of the reasoning where the server left nothing else."""
        content = self.content
        if isinstance(content, list):
            content = "".join(part.text for part in content if part.type in _TEXT_PARTS)
        return content or answer_in(self.reasoning_content or self.reasoning or "")


class _Choice(BaseModel):
    message: _ChatMessage
    finish_reason: str | None = None


class _Completion(BaseModel):
    """The fields we use of a chat completion."""

    choices: list[_Choice] = Field(min_length=1)
    usage: Annotated[ChatUsage | None, IF_READABLE] = None


class _Client:
    """The SDK's client as both formats use it: no retries of its own."""

    def __init__(
        self, settings: ModelSettings, key: str, capabilities: Capabilities | None = None
    ) -> None:
        self._settings, self._key = settings, key
        self._capabilities = capabilities or Capabilities()
        self._http = network.http_client(settings)
        self._client = openai.AsyncOpenAI(
            # the SDK requires a key; servers that need none ignore it
            api_key=key or "none",
            base_url=settings.url,
            max_retries=0,
            timeout=httpx2.Timeout(settings.timeout_seconds, connect=network.CONNECT_S),
            http_client=self._http,
            default_headers=network.own_headers(settings, key or "none", openai.Omit()),
        )

    async def discover(self) -> None:
        """Ask nothing: OpenAI does not tell."""

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _adapts(self, error: openai.APIError, sent: Collection[str], output: int) -> bool:
        """Return whether the request can be made again without what was refused."""
        return (
            isinstance(error, openai.APIStatusError)
            and provider.can_adapt(error.response, error.message)
            and self._capabilities.adapt(error.message, sent, output)
        )

    def _output(self, form: ReplyForm) -> int:
        return min(form.max_output, self._capabilities.max_output(self._settings))

    def _taken(self, optional: Mapping[str, Any]) -> dict[str, Any]:
        refused = self._capabilities.refused
        return {name: value for name, value in optional.items() if value and name not in refused}

    def _raise(self, error: openai.APIStatusError | openai.APIConnectionError) -> NoReturn:
        if isinstance(error, openai.APIStatusError):
            code = error.code or error.type or ""
            provider.raise_for_status(error.response, error.message, code, self._key)
        provider.raise_for_connection(error, self._settings)


class ResponsesModel(_Client):
    """One of OpenAI's own models, through Responses; nothing is stored at OpenAI."""

    async def ask(self, prompt: Prompt, turns: Sequence[Turn], form: ReplyForm) -> Reply:
        """Make one call. Raises CallError or RejectedError; their texts never hold the key."""
        effort = self._settings.effort
        schema = form.schema and {
            "format": {"type": "json_schema", "name": "answer", "schema": form.schema}
        }
        messages: Any = _items(prompt, turns)
        tools = [_function(tool) for tool in form.tools]
        while True:
            output = self._output(form)
            optional = self._taken(
                {"reasoning": effort and {"effort": effort}, "text": schema, "tools": tools}
            )
            if "tools" in optional and not form.may_call:
                optional["tool_choice"] = "none"
            try:
                raw = await self._client.responses.with_raw_response.create(
                    model=self._settings.model,
                    instructions=prompt.system,
                    input=messages,
                    max_output_tokens=output,
                    store=False,
                    **optional,
                )
                break
            except (openai.APIStatusError, openai.APIConnectionError) as error:
                if not self._adapts(error, optional, output):
                    self._raise(error)
        body = provider.parse_body(raw.http_response.content, _Response.model_validate_json)
        return _from_response(body, provider.wait_before_next(raw.headers))


class ChatModel(_Client):
    """A model behind chat completions, or in Ollama behind its own API."""

    def __init__(
        self, settings: ModelSettings, key: str, capabilities: Capabilities | None = None
    ) -> None:
        super().__init__(settings, key, capabilities)
        self._ollama = Ollama(settings, key, self._capabilities)

    async def discover(self) -> None:
        """Find out whether the model runs in Ollama, how large it is and how long its context."""
        await self._ollama.discover()
        if not self._capabilities.native:
            await discovery.discover(self._http, self._settings, self._key, self._capabilities)

    async def close(self) -> None:
        """Close the connections."""
        await super().close()
        await self._ollama.close()

    async def ask(self, prompt: Prompt, turns: Sequence[Turn], form: ReplyForm) -> Reply:
        """Make one call. Raises CallError or RejectedError; their texts never hold the key."""
        if self._capabilities.native:
            messages = [{"role": "system", "content": prompt.system}, *_messages(prompt, turns)]
            return await self._ollama.chat(messages, self._output(form), form)
        while True:
            output = self._output(form)
            optional = self._optional(form, output)
            try:
                return await self._once(prompt, turns, optional)
            except (openai.APIStatusError, openai.APIConnectionError) as error:
                if not self._adapts(error, optional, output):
                    self._raise(error)

    async def _once(
        self, prompt: Prompt, turns: Sequence[Turn], optional: Mapping[str, Any]
    ) -> Reply:
        messages: Any = [{"role": "system", "content": prompt.system}, *_messages(prompt, turns)]
        create = self._client.chat.completions.with_raw_response.create
        if self._capabilities.streams_only:
            begun = await create(
                model=self._settings.model, messages=messages, stream=True, **optional
            )
            wait_s = provider.wait_before_next(begun.headers)
            return _from_completion(await _collected(begun.parse()), wait_s)
        raw = await create(model=self._settings.model, messages=messages, **optional)
        wait_s = provider.wait_before_next(raw.headers)
        body = provider.parse_body(raw.http_response.content, _Completion.model_validate_json)
        return _from_completion(body, wait_s)

    def _optional(self, form: ReplyForm, output: int) -> dict[str, Any]:
        """Return the parameters that some servers refuse."""
        name = (
            "max_completion_tokens" if "max_tokens" in self._capabilities.refused else "max_tokens"
        )
        schema = form.schema and {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": form.schema},
        }
        optional = {
            name: output,
            "reasoning_effort": self._settings.effort,
            "response_format": schema,
            "stream_options": self._capabilities.streams_only and {"include_usage": True},
            "tools": [{"type": "function", "function": tool.function} for tool in form.tools],
        }
        taken = self._taken(optional)
        if "tools" in taken and not form.may_call:
            taken["tool_choice"] = "none"
        return taken


async def _collected(stream: openai.AsyncStream[ChatCompletionChunk]) -> _Completion:
    """Return the completion that a stream makes up. Raises CallError if it breaks."""
    content, thoughts, finish, usage = "", "", None, None
    calls: dict[int, dict[str, Any]] = {}
    try:
        async for chunk in stream:
            usage = chunk.usage.model_dump() if chunk.usage else usage
            for choice in chunk.choices[:1]:
                content += choice.delta.content or ""
                for part in choice.delta.tool_calls or ():
                    _add_part(calls, part)
                thoughts += getattr(choice.delta, "reasoning_content", None) or ""
                finish = choice.finish_reason or finish
    except (httpx2.HTTPError, openai.APIError) as error:
        raise provider.CallError("network", f"the stream broke ({type(error).__name__})") from None
    message = {"content": content, "reasoning_content": thoughts, "tool_calls": [*calls.values()]}
    if finish is None:
        raise provider.CallError("network", "the stream ended in the middle of the answer")
    choices = [{"message": message, "finish_reason": finish}]
    return _Completion.model_validate({"choices": choices, "usage": usage})


def _add_part(calls: dict[int, dict[str, Any]], part: ChoiceDeltaToolCall) -> None:
    """Add a piece of a streamed call to those that it belongs to."""
    call = calls.setdefault(part.index, {"id": "", "function": {"name": "", "arguments": ""}})
    call["id"] = part.id or call["id"]
    if part.function is not None:
        call["function"]["name"] += part.function.name or ""
        call["function"]["arguments"] += part.function.arguments or ""


def _function(tool: Tool) -> dict[str, Any]:
    return {"type": "function", "strict": False, **tool.function}


def _first(prompt: Prompt) -> dict[str, Any]:
    return {"role": "user", "content": f"{prompt.genome}\n\n{prompt.request}"}


def _messages(prompt: Prompt, turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Return a conversation as chat completions have one."""
    said = [_first(prompt)]
    for turn in turns:
        said += [
            {"role": "tool", "tool_call_id": result.call.id, "content": result.text}
            for result in turn.results
        ]
        if turn.calls:
            calls = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": json.dumps(dict(call.arguments))},
                }
                for call in turn.calls
            ]
            said.append({"role": turn.role, "content": turn.text or None, "tool_calls": calls})
        elif turn.text or not turn.results:
            said.append({"role": turn.role, "content": turn.text or "(empty)"})
    return said


def _items(prompt: Prompt, turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Return a conversation as Responses have one.

    Without the ids of its items, since one that is named wants its thoughts beside it, and nothing
    is stored.
    """
    said = [_first(prompt)]
    for turn in turns:
        said += [
            {"type": "function_call_output", "call_id": result.call.id, "output": result.text}
            for result in turn.results
        ]
        if turn.text or not (turn.results or turn.calls):
            said.append({"role": turn.role, "content": turn.text or "(empty)"})
        said += [
            {
                "type": "function_call",
                "call_id": call.id,
                "name": call.name,
                "arguments": json.dumps(dict(call.arguments)),
            }
            for call in turn.calls
        ]
    return said


def _from_response(body: _Response, pause: float) -> Reply:
    if body.status == "failed":
        fault = body.error or _Fault()
        reason = provider.reason_line(f"the response failed: {fault.code} {fault.message}")
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
        detail=provider.reason_line(refusal or why or ""),
        calls=tuple(
            ToolCall(item.call_id, item.name, arguments_of(item.arguments))
            for item in body.output
            if item.type == "function_call"
        ),
    )


def _from_completion(body: _Completion, pause: float) -> Reply:
    choice = body.choices[0]
    refusal, finish = choice.message.refusal or "", choice.finish_reason or ""
    return Reply(
        text=choice.message.text,
        ending=_ending(refused=bool(refusal) or finish == "content_filter", cut=finish == "length"),
        tokens=body.usage.tokens if body.usage else None,
        wait_s=pause,
        detail=provider.reason_line(refusal or finish),
        calls=tuple(
            ToolCall(call.id, call.function.name, arguments_of(call.function.arguments))
            for call in choice.message.tool_calls or ()
        ),
    )


def _ending(*, refused: bool, cut: bool) -> Ending:
    if refused:
        return "refused"
    return "cut" if cut else "done"
