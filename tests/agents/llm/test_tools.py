"""The tools of a language model: a bounded loop of questions in each wire format."""

import asyncio
import contextlib
import json

import pytest

from islands.records import Proposal
from swarm.agents.base import AgentError
from swarm.agents.llm.tools import ENOUGH, MAX_READ_LINES, ToolCall, arguments_of, result_of
from tests.agents.external.test_desk import Answers
from tests.support.language_models import (
    BRIEF,
    GOOD,
    ClosingAgents,
    make_model_agent,
    outcome_of,
    propose,
)
from tests.support.loopback import Call, Say, Status, Truncate

READ = Call("read_file", {"path": "seed/train.py", "first": 4, "last": "5"}, "let me look")
ASK = Call("tried", {"words": "warmup"})
SHOWN = "seed/train.py, lines 4 to 5 of 6\n4 | def step(x):\n5 |     return x * lr"


def results(served):
    """Return the texts of the tool results in a request, with the id that each answers."""
    found = []
    for turn in served.request.body.get("messages", served.request.body.get("input")):
        if turn.get("type") == "function_call_output":
            found.append((turn["call_id"], turn["output"]))
        elif turn.get("role") == "tool":
            found.append((turn.get("tool_call_id", "t1"), turn["content"]))
        elif isinstance(turn.get("content"), list):
            parts = [part for part in turn["content"] if part["type"] == "tool_result"]
            found += [(part["tool_use_id"], part["content"]) for part in parts]
    return found


def ask(server, api, script, *, first=None, **settings):
    """Return the proposal of a new model that may ask, after a launch's probe where one is set."""
    server.play(script)
    agent = make_model_agent(server, api, questions=Answers(), **{"tool_calls": 3, **settings})

    async def main():
        async with contextlib.aclosing(ClosingAgents(agent)):
            if first is not None:
                server.on_probe = first
                await agent.probe()
                server.on_probe = Say("yes")
            return await outcome_of(agent, BRIEF)

    return asyncio.run(main())


def test_it_reads_and_asks_before_it_answers(server, api):
    """The results come back to it as its wire format has them, and the calls are metered."""
    made = ask(server, api, [READ, ASK, GOOD])
    assert isinstance(made, Proposal)
    assert made.notes["repairs"] == 0.0
    assert (made.usage.tokens_in, made.usage.tokens_out) == server.tokens
    assert results(server.log[-1]) == [("t1", SHOWN), ("t1", "nothing like 'warmup'")]
    named = json.dumps(server.log[0].request.body["tools"])
    assert "read_file" in named
    if api == "anthropic":  # it wants its thoughts back beside the call, with their signature
        assert server.log[1].request.body["messages"][1]["content"][0]["signature"] == "x"


def test_the_questions_have_an_end(server, api):
    """After the most it is told so, and may call no more; a call all the same is no answer."""
    assert isinstance(ask(server, api, [ASK] * 3 + [GOOD]), Proposal)
    last = server.log[-1].request.body
    assert len(results(server.log[-1])) == 3
    assert ENOUGH in json.dumps(last)
    assert last["tool_choice"] in ("none", {"type": "none"})
    assert "tool_choice" not in server.log[0].request.body
    assert ask(server, api, [ASK] * 4 + [GOOD]).notes["repairs"] == 1.0


def test_a_model_without_tools_is_asked_without(server, api):
    """The launch's probe finds out; nothing is paid for it."""
    refusal = Status(400, message="some-model does not support tools")
    first = lambda request: refusal if "tools" in request.body else Say("yes")  # noqa: E731
    assert isinstance(ask(server, api, [GOOD], first=first), Proposal)
    assert ["tools" in served.request.body for served in server.log] == [False]


def test_llama_cpp_without_templates_is_asked_without(server):
    """It refuses with 500, which elsewhere is tried again."""
    refusal = Status(500, message="tools param requires --jinja flag")
    script = lambda request: refusal if "tools" in request.body else GOOD  # noqa: E731
    assert isinstance(ask(server, "chat", script), Proposal)
    assert len(server.log) == 2


def test_nobody_is_offered_tools_that_nobody_answers(server, api):
    """And `tool_calls: 0` in program.md takes them away."""
    server.play([GOOD, GOOD])
    propose(make_model_agent(server, api))
    propose(make_model_agent(server, api, questions=Answers(), tool_calls=0))
    assert not any("tools" in served.request.body for served in server.log)


def test_ollama_calls_tools_by_its_own_api(server, monkeypatch):
    """It has no ids, takes arguments as objects, and cannot be told to call none."""
    monkeypatch.setattr(server, "context_length", 32_768)
    made = ask(server, "chat", [READ, GOOD], first=Say("yes"), tool_calls=1)
    assert isinstance(made, Proposal)
    first, last = (served.request.body for served in server.log)
    assert first["tools"]
    assert "tools" not in last
    assert last["messages"][2]["tool_calls"][0]["function"]["arguments"] == READ.arguments
    assert results(server.log[-1]) == [("t1", SHOWN)]
    refusal = Status(400, message="registry.ollama.ai/m does not support tools")
    made = ask(
        server,
        "chat",
        lambda request: refusal if "tools" in request.body else GOOD,
        first=Say("yes"),
    )
    assert isinstance(made, Proposal)


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("read_file", {"path": "../../etc/passwd"}, "there is no such file"),
        ("read_file", {"path": ["seed/train.py"]}, "there is no such file"),
        ("read_file", {}, "there is no such file"),
        ("read_file", {"path": "seed/train.py", "first": 99}, "seed/train.py has 6 lines"),
        ("read_file", {"path": "seed/train.py", "first": -5, "last": 1}, "1 | lr = 0.1"),
        ("read_file", {"path": "seed/train.py", "first": "x"}, "lines 1 to 6 of 6"),
        ("bash", {"command": "id"}, "there is no tool 'bash'"),
        ("tried", {"words": 3}, "nothing like '3'"),
    ],
)
def test_a_wrong_call_is_told_what_is_wrong(name, arguments, told):
    """It reads no other file than those that may change."""
    asked = Answers()
    asked.brief = BRIEF
    assert told in asyncio.run(result_of(ToolCall("t", name, arguments), asked)).text


def test_arguments_are_read_or_dropped():
    """A model may write anything there."""
    assert arguments_of('{"path": "a"}') == {"path": "a"}
    for text in ("", "[1]", "{", "null", "[" * 100_000):
        assert arguments_of(text) == {}
    assert MAX_READ_LINES < 1_000


def test_a_model_sums_up_what_is_known(server, api):
    """By one metered call without tools; thoughts are left out, and an empty answer is an error."""

    def summarise(script):
        server.play(script)
        agent = make_model_agent(server, api, questions=Answers())

        async def main():
            async with contextlib.aclosing(ClosingAgents(agent)):
                return await agent.writer.summarise(BRIEF, "#1 on island a: kept")

        return asyncio.run(main())

    text, usage = summarise([Say("<think>hm</think>Smaller steps gain (#1).")])
    assert text == "Smaller steps gain (#1)."
    assert (usage.tokens_in, usage.tokens_out) == server.tokens
    assert "tools" not in server.log[0].request.body
    assert "#1 on island a: kept" in json.dumps(server.log[0].request.body)
    with pytest.raises(AgentError):
        summarise([Truncate("Smaller")])
