"""Requests of coding agents, made into such as can be metered. Pure.

The model is pinned, the output bounded, and what would cost more than its tokens say is refused
(tools that run at the provider, conversations that it keeps, documents) or taken out (dearer tiers
of service, caches that are kept for an hour).

Not covered: what a provider charges beside tokens for parameters that are unknown here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

from swarm.agents.agent_json import read_json
from swarm.agents.llm.capabilities import Capabilities
from swarm.agents.llm.settings import ModelSettings

Api = Literal["messages", "responses", "chat"]

PATHS: Mapping[str, Api] = {
    "/messages": "messages",
    "/responses": "responses",
    "/chat/completions": "chat",
}
"""What a client's path ends in, after /v1, by the wire format."""

KINDS: Mapping[Api, str] = {"messages": "anthropic", "responses": "openai", "chat": "openai"}
"""The kind of provider that speaks a wire format."""

TEMPLATE_TOKENS = 4096
"""Tokens that a provider adds to a request (its chat template, its text on tools); well above any
known."""

TURN_TOKENS = 64
"""The same for each message."""

IMAGE_TOKENS = 40_000
"""The most that an image counts as, at any provider that we know."""

_HOSTED_TOOLS = (
    *("web_search", "web_fetch", "file_search", "code_interpreter", "code_execution"),
    *("image_generation", "mcp", "remote_mcp"),
)
_UNBOUNDED = (
    *("previous_response_id", "conversation", "prompt", "background", "mcp_servers", "container"),
    *("audio", "web_search_options"),
)
_DEARER = (
    "store",
    "prompt_cache_retention",
    "service_tier",
    "speed",
    "inference_geo",
    "prediction",
)
_DOCUMENTS = ("document", "file", "input_file", "input_audio", "audio", "container_upload")
_IMAGES = ("image", "image_url", "input_image")
_MIN_THINKING = 1024


class RefusedRequestError(Exception):
    """The request cannot be metered or understood, so it is not forwarded."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A request that may be forwarded.

    api: its wire format
    body: what is sent
    stream: whether the answer is a stream
    sent, output: the most tokens that it can take
    hides_usage: whether the client did not ask for the usage in a stream of chat completions
    added: parameters that it did not have
    """

    api: Api
    body: bytes
    stream: bool
    sent: int
    output: int
    hides_usage: bool = False
    added: tuple[str, ...] = ()


def model_request(
    api: Api, raw: bytes, settings: ModelSettings, known: Capabilities
) -> ModelRequest:
    """Return the request to forward. Raises RefusedRequestError, with the reason."""
    body = _parsed(raw)
    _require_bounded(body)
    for name in _DEARER:
        body.pop(name, None)
    body["model"] = settings.model
    added: list[str] = []
    output = _bound_output(api, body, settings, known, added)
    stream, hides_usage = body.get("stream") is True, False
    if api == "responses":
        body["store"] = False
    if api == "messages":
        _bound_thinking(body, output)
        _shorten_caches(body)
    if api == "chat" and stream and "stream_options" not in known.refused:
        options = body.get("stream_options")
        options = options if isinstance(options, dict) else {}
        hides_usage = options.get("include_usage") is not True
        body["stream_options"] = {**options, "include_usage": True}
        added.append("stream_options")
    images = sum(part.get("type") in _IMAGES for part in _parts(body))
    data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    turns = body.get("input" if api == "responses" else "messages")
    count = len(turns) if isinstance(turns, list) else 1
    sent = len(data) + TEMPLATE_TOKENS + TURN_TOKENS * count + IMAGE_TOKENS * images
    return ModelRequest(api, data, stream, sent, output, hides_usage, tuple(added))


def estimated_tokens(raw: bytes) -> int:
    """Return about how many tokens a request has, for a client that plans by it."""
    return len(raw) // 3 + 1


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        body = read_json(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise RefusedRequestError(HTTPStatus.BAD_REQUEST, "the body is no JSON object")
    return body


def _require_bounded(body: Mapping[str, Any]) -> None:
    """Raise RefusedRequestError at what costs more than can be told beforehand."""
    found = [name for name in _UNBOUNDED if body.get(name)]
    tools = body.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        kind = str(tool.get("type", "")) if isinstance(tool, dict) else ""
        if kind.startswith(_HOSTED_TOOLS):
            found.append(f"the provider's tool {kind}")
    if body.get("n") not in (None, 1):
        found.append("n")
    found += sorted({part["type"] for part in _parts(body) if part.get("type") in _DOCUMENTS})
    if found:
        reason = f"{', '.join(found)}: its cost has no bound, so this gateway does not forward it"
        raise RefusedRequestError(HTTPStatus.BAD_REQUEST, reason)


def _parts(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the messages of a conversation and the parts of their contents, at any depth."""
    waiting = [body.get(name) for name in ("messages", "input", "system")]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            yield value
            waiting += [value.get("content"), value.get("output")]


def _bound_output(
    api: Api,
    body: dict[str, Any],
    settings: ModelSettings,
    known: Capabilities,
    added: list[str],
) -> int:
    """Set the most tokens of the answer, where the client asks for more or names none."""
    names = {
        "messages": ("max_tokens",),
        "responses": ("max_output_tokens",),
        "chat": ("max_completion_tokens", "max_tokens"),
    }[api]
    most = known.max_output(settings)
    # each is taken out, a number or not: one that stays could allow more than is reserved
    asked = [value for name in names if isinstance(value := body.pop(name, None), int)]
    output = max(1, min([most, *asked]))
    if settings.login:
        return output  # ChatGPT takes no such parameter
    name = names[0]
    if api == "chat" and "max_tokens" not in known.refused:
        name = "max_tokens"
    body[name] = output
    added.append(name)
    return output


def _bound_thinking(body: dict[str, Any], output: int) -> None:
    """Keep the tokens of the reasoning below those of the answer, as the format demands."""
    thinking = body.get("thinking")
    if not isinstance(thinking, dict) or not isinstance(thinking.get("budget_tokens"), int):
        return
    if output <= _MIN_THINKING:
        del body["thinking"]
    else:
        thinking["budget_tokens"] = min(thinking["budget_tokens"], output - 1)


def _shorten_caches(body: Mapping[str, Any]) -> None:
    """Ask for caches of five minutes, the only ones that prices are stated for."""
    tools = body.get("tools")
    parts = [*_parts(body), *(tools if isinstance(tools, list) else ()), body]
    for part in parts:
        control = part.get("cache_control") if isinstance(part, dict) else None
        if isinstance(control, dict):
            control.pop("ttl", None)
