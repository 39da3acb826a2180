"""A language-model server on loopback that speaks Anthropic's and OpenAI's wire formats.

It plays a script, step by step, and logs each request, its answer and the tokens it counted, to be
compared with a client's books. It runs in a thread with its own event loop. Tokens are counted from
bytes, by rules simple enough to check by hand.

    with Loopback([Say("...")]) as server:
        ... base_url=server.url (Anthropic) or f"{server.url}/v1" (OpenAI) ...
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from swarm.agents.llm.agent import PROBE

KEY = "sk-loopback-0123456789abcdef"


@dataclass(frozen=True)
class Say:
    """Answer `text`; of its input tokens `cached` are read from a cache, `wrote` written to one."""

    text: str
    cached: int = 0
    wrote: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Refuse:
    """Refuse, as the model or its provider's filter does."""

    why: str = "not that"


@dataclass(frozen=True)
class Truncate:
    """Answer `text`, cut off at the limit of output tokens."""

    text: str


@dataclass(frozen=True)
class Call:
    """Call a tool with these arguments, after some words of `text`."""

    name: str
    arguments: Mapping[str, Any]
    text: str = ""


@dataclass(frozen=True)
class Status:
    """Answer with an HTTP error."""

    code: int
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = "scripted"
    error_code: str = ""


@dataclass(frozen=True)
class Garbage:
    """Answer 200 with a body that does not match the format."""

    body: bytes = b'{"half": '


@dataclass(frozen=True)
class Cut:
    """Do the work, then break the connection in the reply: `after` that many events of a stream."""

    text: str = "an answer that never arrives"
    after: int = 2


@dataclass(frozen=True)
class Hang:
    """Send nothing until the client disconnects."""


Step = Say | Call | Refuse | Truncate | Status | Garbage | Cut | Hang


@dataclass(frozen=True)
class ModelRequest:
    """One request: its number from 0, wire format, key and body."""

    number: int
    api: str
    key: str
    body: Mapping[str, Any]

    @property
    def system(self) -> str:
        """The system text."""
        if self.api == "messages":
            return "".join(block["text"] for block in self.body["system"])
        if self.api == "responses":
            return str(self.body["instructions"])
        return str(self.body["messages"][0]["content"])

    @property
    def turns(self) -> list[tuple[str, str]]:
        """Role and text of every message after the system text."""
        messages = self.body["input" if self.api == "responses" else "messages"]
        found = [(one["role"], _flat(one["content"])) for one in messages]
        return found[1:] if self.api == "chat" else found

    @property
    def max_output(self) -> int:
        """The most output tokens that were allowed."""
        names = {"messages": "max_tokens", "responses": "max_output_tokens", "chat": "max_tokens"}
        return int(self.body[names[self.api]])


@dataclass(frozen=True)
class Served:
    """One line of the log: the tokens billed, and whether the reply reported them."""

    request: ModelRequest
    step: Step
    tokens_in: int = 0
    tokens_out: int = 0
    reported: bool = True


def _flat(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


class Loopback:
    """The server. `script`: steps, or a function of the request; a reply takes `delay` seconds."""

    on_probe: Step | Callable[[ModelRequest], Step] = Say("yes")
    """The answer to the small call that a launch begins with; it is not part of the script."""

    context_length = 0
    """The context of the model, where this is Ollama."""

    parameters = 0
    """How many the model has, where this is llama.cpp or Ollama."""

    loading = 0
    """How often llama.cpp answers that it still loads its weights."""

    def __init__(
        self, script: Iterable[Step] | Callable[[ModelRequest], Step] = (), delay: float = 0.0
    ) -> None:
        self.log: list[Served] = []
        self.probes: list[ModelRequest] = []
        self.headers: dict[str, str] = {}  # of the latest request
        self.delay = delay
        self.max_concurrent = 0
        self._concurrent = 0
        self._number = 0
        self.play(script)
        routes = [
            Route("/v1/messages", self._messages, methods=["POST"]),
            Route("/v1/responses", self._responses, methods=["POST"]),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/api/{name}", self._ollama, methods=["GET", "POST"]),
            Route("/v1/models", self._models),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes),
            log_level="critical",
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._socket = socket.create_server(("127.0.0.1", 0))
        # asyncio asks for this only of sockets that it made: without it each answer takes 40 ms
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        sockets = [self._socket]
        self._thread = threading.Thread(target=self._server.run, args=(sockets,), daemon=True)

    def play(self, script: Iterable[Step] | Callable[[ModelRequest], Step]) -> Loopback:
        """Begin a new script with an empty log."""
        self.log, self._number, self.max_concurrent = [], 0, 0
        self.gather, self._gathered = 0, asyncio.Event()
        steps: Iterator[Step] = iter(()) if callable(script) else iter(script)
        ended = Status(500, message="the script has ended")
        self._next = script if callable(script) else lambda _asked: next(steps, ended)
        return self

    @property
    def tokens(self) -> tuple[int, int]:
        """Tokens in and out of all replies that reported them."""
        reported = [served for served in self.log if served.reported]
        return sum(served.tokens_in for served in reported), sum(
            served.tokens_out for served in reported
        )

    def __enter__(self) -> Loopback:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)  # a daemon: an answer that hangs on purpose may keep it
        self._socket.close()

    async def _messages(self, request: Request) -> Response:
        return await self._serve(request, "messages", _as_message)

    async def _responses(self, request: Request) -> Response:
        return await self._serve(request, "responses", _as_response)

    async def _chat(self, request: Request) -> Response:
        return await self._serve(request, "chat", _as_completion)

    async def _ollama(self, request: Request) -> Response:
        """Answer as Ollama's own API does, where `context_length` says that this is Ollama."""
        name = request.path_params["name"]
        if not self.context_length:
            return Response(status_code=404)
        if name == "chat":
            return await self._serve(request, "ollama", _as_ollama)
        shown: dict[str, Any] = {"qwen2.context_length": self.context_length}
        if self.parameters:
            shown["general.parameter_count"] = self.parameters
        return JSONResponse({"version": "0.9.0"} if name == "version" else {"model_info": shown})

    async def _models(self, _request: Request) -> Response:
        """Answer as llama.cpp does, where `parameters` says that this is one."""
        if not self.parameters:
            return Response(status_code=404)
        if self.loading:
            self.loading -= 1
            error = {"message": "Loading model", "type": "unavailable_error", "code": 503}
            return JSONResponse({"error": error}, 503)
        model = {"id": "weights.gguf", "meta": {"n_params": self.parameters, "n_ctx": 16_384}}
        return JSONResponse({"object": "list", "data": [model]})

    async def _serve(self, request: Request, api: str, shape: Callable[..., object]) -> Response:
        self._concurrent += 1
        self.max_concurrent = max(self.max_concurrent, self._concurrent)
        try:
            return await self._answer(request, api, shape)
        finally:
            self._concurrent -= 1

    async def _held(self) -> None:
        """Wait for as long as an answer takes, and until `gather` requests have come at once."""
        if self._concurrent >= self.gather:
            self._gathered.set()
        await self._gathered.wait()
        await asyncio.sleep(self.delay)

    async def _answer(self, request: Request, api: str, shape: Callable[..., object]) -> Response:
        key = request.headers.get("x-api-key") or request.headers.get("authorization", "")
        body = await request.json()
        self.headers = dict(request.headers)
        probe = PROBE.system in json.dumps(body)
        number = self._number
        self._number += not probe  # at once, or two would be one
        model_request = ModelRequest(number, api, key.removeprefix("Bearer "), body)
        if model_request.key != KEY:
            step: Step = Status(401, message=f"bad key {key}")
        else:
            found = self.on_probe if probe else self._next(model_request)
            step = found(model_request) if callable(found) else found
        if probe:
            self.probes.append(model_request)
            return _served(api, shape, step)
        await self._held()
        sent = len(json.dumps(model_request.body).encode()) // 4
        match step:
            case Status(code, headers, message, error_code):
                self.log.append(Served(model_request, step))
                return JSONResponse(_as_error(api, message, error_code), code, headers)
            case Garbage(body):
                self.log.append(Served(model_request, step, sent, len(body), reported=False))
                return Response(body, media_type="application/json")
            case Hang():
                self.log.append(Served(model_request, step, sent, 0, reported=False))
                while (await request.receive())["type"] != "http.disconnect":
                    pass
                return Response()
            case Cut(text, after):
                output = len(text.encode()) // 4 + 1
                told = body.get("stream") is True and after >= _EVENTS_TO_USAGE.get(api, 0)
                self.log.append(Served(model_request, step, sent, output, reported=told))
                return _broken(api, shape(Say(text), text, sent, output), body, after)
        text = step.why if isinstance(step, Refuse) else step.text
        output = len(text.encode()) // 4 + 1
        self.log.append(Served(model_request, step, sent, output))
        headers = dict(step.headers) if isinstance(step, Say) else {}
        return _whole(api, shape(step, text, sent, output), body, headers)


def _served(api: str, shape: Callable[..., object], step: Step) -> Response:
    """Return the response to a probe, which no log counts."""
    match step:
        case Status(code, headers, message, error_code):
            return JSONResponse(_as_error(api, message, error_code), code, headers)
        case Garbage(body):
            return Response(body, media_type="text/html")
        case Say(text):
            return JSONResponse(shape(step, text, 10, 1))
    raise NotImplementedError(step)


class _Broken(Response):
    """A response that announces more bytes than it sends; the server then disconnects."""

    def __init__(self, body: bytes, media_type: str) -> None:
        super().__init__(body, media_type=media_type)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        media_type = str(self.media_type).encode()
        length = str(len(self.body) + 1).encode()
        headers = [(b"content-length", length), (b"content-type", media_type)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})


_EVENTS_TO_USAGE = {"messages": 5, "responses": 3, "chat": 3}
"""Events of a stream by which the usage of the whole answer has been told."""


def _broken(api: str, whole: object, asked: Mapping[str, Any], after: int) -> Response:
    if asked.get("stream"):
        return _Broken("".join(_events(api, whole, asked)[:after]).encode(), "text/event-stream")
    return _Broken(b'{"content": [', "application/json")


def _whole(api: str, whole: object, asked: Mapping[str, Any], headers: dict[str, str]) -> Response:
    if asked.get("stream"):
        events = "".join(_events(api, whole, asked))
        return Response(events, headers=headers, media_type="text/event-stream")
    return JSONResponse(whole, headers=headers)


def _events(api: str, whole: Any, asked: Mapping[str, Any]) -> list[str]:
    """Return the stream of events that makes up a whole answer."""
    if api == "messages":
        usage = whole["usage"]
        begun = {
            **whole,
            "content": [],
            "stop_reason": None,
            "usage": {**usage, "output_tokens": 1},
        }
        text = "".join(block.get("text", "") for block in whole["content"])
        delta = {"type": "text_delta", "text": text}
        end = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
        events: list[dict[str, Any]] = [
            {"type": "message_start", "message": begun},
            {"type": "content_block_start", "index": 0, "content_block": _NO_TEXT},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": end,
                "usage": {"output_tokens": usage["output_tokens"]},
            },
            {"type": "message_stop"},
        ]
    elif api == "responses":
        text = whole["output"][-1]["content"][0].get("text", "")
        begun = {**whole, "status": "in_progress", "output": [], "usage": None}
        events = [
            {"type": "response.created", "response": begun, "sequence_number": 0},
            {"type": "response.output_text.delta", "delta": text, "sequence_number": 1},
            {"type": "response.completed", "response": whole, "sequence_number": 2},
        ]
    else:
        chunk = {"id": "chat_1", "object": "chat.completion.chunk", "model": "m", "created": 0}
        message = whole["choices"][0]["message"]
        end = {"index": 0, "delta": {}, "finish_reason": whole["choices"][0]["finish_reason"]}
        events = [
            {**chunk, "choices": [{"index": 0, "delta": message, "finish_reason": None}]},
            {**chunk, "choices": [end]},
        ]
        if (asked.get("stream_options") or {}).get("include_usage"):
            events += [{**chunk, "choices": [], "usage": whole["usage"]}]
        return [f"data: {json.dumps(event)}\n\n" for event in events] + ["data: [DONE]\n\n"]
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]


_NO_TEXT = {"type": "text", "text": ""}


def _as_error(api: str, message: str, code: str) -> object:
    if api == "messages":
        details = {"details": {"error_code": code}} if code else {}
        return {"type": "error", "error": {"type": "scripted", "message": message, **details}}
    return {"error": {"message": message, "type": "scripted", "param": None, "code": code or None}}


def _cache(step: Step) -> tuple[int, int]:
    return (step.cached, step.wrote) if isinstance(step, Say) else (0, 0)


def _as_message(step: Step, text: str, sent: int, output: int) -> object:
    read, wrote = _cache(step)
    stop = {Refuse: "refusal", Truncate: "max_tokens"}.get(type(step), "end_turn")
    details = {"type": "refusal", "category": None, "explanation": text}
    thinking = {"type": "thinking", "thinking": "hm", "signature": "x"}
    content = [thinking, {"type": "text", "text": text}]
    if isinstance(step, Call):
        used = {"type": "tool_use", "id": "t1", "name": step.name, "input": step.arguments}
        content, stop = [thinking, used], "tool_use"
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "loopback",
        "content": [] if stop == "refusal" else content,
        "stop_reason": stop,
        "stop_details": details if stop == "refusal" else None,
        "usage": {
            "input_tokens": sent - read - wrote,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": wrote,
            "output_tokens": output,
        },
    }


def _as_response(step: Step, text: str, sent: int, output: int) -> object:
    read, wrote = _cache(step)
    part: dict[str, object] = {"type": "output_text", "text": text, "annotations": []}
    if isinstance(step, Refuse):
        part = {"type": "refusal", "refusal": text}
    cut = isinstance(step, Truncate)
    said: dict[str, object] = {"type": "message", "role": "assistant", "content": [part]}
    if isinstance(step, Call):
        said = {"type": "function_call", "id": "f1", "call_id": "t1", "name": step.name}
        said["arguments"] = json.dumps(step.arguments)
    return {
        "id": "resp_1",
        "object": "response",
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": [
            {"type": "reasoning", "id": "rs_1", "summary": []},
            said,
        ],
        "usage": {
            "input_tokens": sent,
            "input_tokens_details": {"cached_tokens": read, "cache_write_tokens": wrote},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": sent + output,
        },
    }


def _as_ollama(step: Step, text: str, sent: int, output: int) -> object:
    reason = "length" if isinstance(step, Truncate) else "stop"
    message: dict[str, Any] = {"role": "assistant", "content": text, "thinking": "hm"}
    if isinstance(step, Call):
        message["tool_calls"] = [{"function": {"name": step.name, "arguments": step.arguments}}]
    counts = {"prompt_eval_count": sent, "eval_count": output}
    return {"model": "m", "message": message, "done": True, "done_reason": reason, **counts}


def _as_completion(step: Step, text: str, sent: int, output: int) -> object:
    read, wrote = _cache(step)
    refused = isinstance(step, Refuse)
    finish = {Refuse: "content_filter", Truncate: "length"}.get(type(step), "stop")
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if refused else text,
        "refusal": text if refused else None,
    }
    if isinstance(step, Call):
        called = {"name": step.name, "arguments": json.dumps(step.arguments)}
        message["tool_calls"] = [{"index": 0, "id": "t1", "type": "function", "function": called}]
        finish = "tool_calls"
    return {
        "id": "chat_1",
        "object": "chat.completion",
        "choices": [{"index": 0, "finish_reason": finish, "message": message}],
        "usage": {
            "prompt_tokens": sent,
            "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": wrote},
            "completion_tokens": output,
            "total_tokens": sent + output,
        },
    }
