"""Streams that report their usage in every known way, cut off after each of their events.

Whatever has arrived, the books hold at least what the provider bills: all of the input, and the
output so far. Once the counts of the whole answer have been told, they hold exactly that.
"""

import json

import pytest

from swarm.agents.gateway.requests import model_request
from swarm.agents.gateway.usage_reader import EventSplitter, StreamUsage
from swarm.agents.llm.capabilities import Capabilities
from swarm.agents.llm.settings import ModelSettings, Tokens

INPUT, OUTPUT = 900, 40
WHOLE = Tokens(input=INPUT, output=OUTPUT)


def message(**usage):
    """Return the start of a message."""
    return {"type": "message_start", "message": {"stop_reason": None, "usage": usage}}


def delta(reason, **usage):
    """Return a message_delta."""
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


def response(kind, status, usage):
    """Return an event of a response."""
    return {"type": kind, "response": {"status": status, "usage": usage}}


def chunk(text=None, finish=None, usage=None):
    """Return a chunk of a chat; without a text and a finish it has no choice."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return {"choices": [choice] if text or finish else [], "usage": usage}


def counts(output, sent=INPUT):
    """Return the usage of a chat."""
    return {"prompt_tokens": sent, "completion_tokens": output}


TEXT = {"type": "content_block_delta", "delta": {"text": 'says "stop_reason": "x" itself'}}
STOP = {"type": "message_stop"}
OUT = {"input_tokens": INPUT, "output_tokens": OUTPUT}
NONE = {"input_tokens": 0, "output_tokens": 0}

STREAMS = {
    "input first, output last": (
        "messages",
        [message(input_tokens=INPUT, output_tokens=1), TEXT, delta("end_turn", output_tokens=40)],
        [STOP],
    ),
    "running counts of a message": (
        "messages",
        [
            message(input_tokens=INPUT, output_tokens=1),
            TEXT,
            delta(None, output_tokens=9),
            TEXT,
            delta("end_turn", output_tokens=40),
        ],
        [STOP],
    ),
    "zeros first, all in the end": (
        "messages",
        [message(**NONE), TEXT, delta("tool_use", **OUT)],
        [STOP],
    ),
    "all in the end": (
        "messages",
        [message(), TEXT, delta("max_tokens", **OUT)],
        [STOP],
    ),
    "a response": (
        "responses",
        [
            response("response.created", "in_progress", None),
            response("response.in_progress", "in_progress", NONE),
            response("response.completed", "completed", OUT),
        ],
        [],
    ),
    "a response that is cut at its limit": (
        "responses",
        [response("response.incomplete", "incomplete", OUT)],
        [],
    ),
    "an event of its own": (
        "chat",
        [chunk("a"), chunk("b"), chunk(finish="stop"), chunk(usage=counts(OUTPUT))],
        ["[DONE]"],
    ),
    "the last chunk": (
        "chat",
        [chunk("a"), chunk("b", "tool_calls", counts(OUTPUT))],
        ["[DONE]"],
    ),
    "twice": (
        "chat",
        [chunk("a"), chunk("b", "stop", counts(OUTPUT))],
        [chunk(usage=counts(OUTPUT)), "[DONE]"],
    ),
    "running counts in each chunk": (
        "chat",
        [
            chunk("a", usage=counts(1)),
            chunk("b", usage=counts(9)),
            chunk("c", "stop", counts(OUTPUT)),
        ],
        [chunk(usage=counts(OUTPUT)), "[DONE]"],
    ),
    "an event of its own before the text": (
        "chat",
        [chunk(usage=counts(0)), chunk("a"), chunk(finish="stop"), chunk(usage=counts(OUTPUT))],
        ["[DONE]"],
    ),
    "before the finish": (
        "chat",
        [chunk("a"), chunk(usage=counts(OUTPUT)), chunk(finish="stop"), "[DONE]"],
        [],
    ),
    "never": ("chat", [chunk("a"), chunk(finish="stop"), "[DONE]"], None),
    "unreadable in the end": (
        "messages",
        [message(input_tokens=INPUT, output_tokens=1), TEXT, delta("end_turn", output_tokens=-1)],
        None,
    ),
}


def wire(events):
    """Return events as bytes."""
    texts = (event if isinstance(event, str) else json.dumps(event) for event in events)
    return b"".join(f"data: {text}\r\n\r\n".encode() for text in texts)


def read(api, data, size):
    """Return what is known once `data` has come in pieces of `size` bytes."""
    usage, splitter = StreamUsage(api), EventSplitter()
    for at in range(0, len(data), size):
        for event in splitter.feed(data[at : at + size]):
            usage.take(event)
    return usage


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("way", STREAMS)
def test_wherever_a_stream_is_cut_no_token_is_missing(way, size):
    """A count that is not final has all of the input, or is none."""
    api, before, after = STREAMS[way]
    events = [*before, *(after or [])]
    for told in range(len(events) + 1):
        data = wire(events[:told])
        for cut in (data, data + b'data: {"choices": [], "usage": {"pro'):
            usage = read(api, cut, size)
            assert usage.final == (after is not None and told >= len(before)), events[:told]
            if usage.final:
                assert usage.tokens == WHOLE
            else:
                assert usage.tokens is None or usage.tokens.total_input == INPUT


@pytest.mark.parametrize("more", [2.0e5, "200000", 200_000, True, None, -5])
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_no_second_limit_of_the_output_is_passed_on(name, more):
    """Whatever its type: a provider that reads it could bill more than is reserved."""
    raw = json.dumps({"messages": [], name: more}).encode()
    request = model_request("chat", raw, ModelSettings("openai", "m"), Capabilities())
    limits = {key: value for key, value in json.loads(request.body).items() if "tokens" in key}
    assert limits == {"max_tokens": request.output}
    assert 1 <= request.output <= Capabilities().max_output(ModelSettings("openai", "m"))
