"""Small models pick a line from a list: who is asked so, what they are shown, how it applies."""

import asyncio
import contextlib
import dataclasses
import json
import random

import pytest

from islands.records import Proposal
from swarm.agents.gateway.prices import FREE
from swarm.agents.llm import discovery
from swarm.agents.llm.capabilities import SMALL_PARAMETERS, SMALL_PROMPT_CHARS, Capabilities
from swarm.agents.llm.excerpts import Excerpt
from swarm.agents.llm.line_edits import MAX_LINES, draw_lines, read
from swarm.agents.llm.prompt import render
from swarm.agents.llm.settings import ModelSettings
from tests.agents.external.test_desk import Answers
from tests.support.language_models import BRIEF, ClosingAgents, make_model_agent
from tests.support.loopback import Loopback, Say, Status

PROGRAM = '''"""What it does,
with x = 1 in words."""

import math

RATE = 0.1  # of learning
# STEPS = 5
def step(x):
    """Return the next x = 2."""
    if x:
        return x * RATE
    return math.sin(x)
'''


@pytest.fixture
def server():
    """A server of its own: what it says of itself differs."""
    with Loopback() as running:
        yield running


def asked(server, answer, **settings):
    """Return what becomes of a brief at a new model, after a launch's probe."""
    server.play(answer)
    given = {"price": FREE, "questions": Answers(), **settings}
    agent = make_model_agent(server, "chat", **given)

    async def main():
        async with contextlib.aclosing(ClosingAgents(agent)):
            await agent.probe()
            return await agent.propose(BRIEF)

    return asyncio.run(main())


def schema_of(body):
    """Return the schema that a request asks for, in either wire format."""
    return body.get("format") or body["response_format"]["json_schema"]["schema"]


def first_line(request):
    """Answer as a small model does: one of the lines that the schema allows."""
    lines = schema_of(request.body)["properties"]["edits"]["items"]["properties"]["line"]["enum"]
    edits = [{"line": lines[0], "replacement": "lr = 0.05"}]
    return Say(json.dumps({"hypothesis": "a smaller step", "edits": edits}))


@pytest.mark.parametrize("context", [0, 8_192])
def test_a_small_model_is_asked_for_a_line_of_a_list(server, context):
    """In llama.cpp and in Ollama: by the schema, without tools, and told nothing of other forms."""
    server.parameters, server.context_length = 1_500_000_000, context
    proposal = asked(server, first_line)
    assert isinstance(proposal, Proposal)
    assert proposal.files["seed/train.py"].data.startswith(b"lr = 0.05\n")
    body = server.log[0].request.body
    assert list(schema_of(body)["properties"]) == ["edits", "hypothesis"]  # in order of writing
    assert "tools" not in body and "tools" not in server.probes[0].body
    said = json.dumps(body["messages"])
    assert "SEARCH" not in said
    assert "1| lr = 0.1\\n2| depth = 2\\n4| def step(x):\\n5| return x * lr" in said


def test_a_server_that_still_loads_its_weights_is_waited_for(server, monkeypatch):
    """What it says then counts."""
    monkeypatch.setattr(discovery, "LOOK_EVERY_S", 0)
    server.parameters, server.loading = 1_500_000_000, 3
    assert isinstance(asked(server, first_line), Proposal)
    assert server.loading == 0


def test_a_large_model_is_not():
    """Nor one whose size nobody knows, with a long context or an unknown price."""
    known = Capabilities(parameters=SMALL_PARAMETERS)
    settings = ModelSettings("openai", "m", price=FREE)
    assert not known.prefers_lines(settings)
    assert not Capabilities(window=16_384).prefers_lines(settings)
    assert Capabilities(window=8_192).prefers_lines(settings)
    assert not Capabilities(window=8_192).prefers_lines(dataclasses.replace(settings, price=None))


def test_a_server_that_takes_no_schema_is_asked_without(server):
    """The form is described as well."""
    server.parameters = 1_500_000_000
    edits = [{"line": "lr = 0.1", "replacement": "lr = 0.05"}]
    good = Say(json.dumps({"hypothesis": "a smaller step", "edits": edits}))
    refusal = Status(400, message="response_format is not supported")
    proposal = asked(server, lambda r: refusal if "response_format" in r.body else good)
    assert isinstance(proposal, Proposal)
    assert len(server.log) == 2


def test_the_list_holds_code_alone_and_differs_by_chance():
    """No comments, no docstrings; numbers of lines are the file's; values before the rest."""
    lines = draw_lines({"p.py": Excerpt(PROGRAM, first=11)}, random.Random(1))
    assert lines == (
        "14| import math",
        "16| RATE = 0.1  # of learning",
        "18| def step(x):",
        "20| if x:",
        "21| return x * RATE",
        "22| return math.sin(x)",
    )
    config = {
        "a.yaml": Excerpt("# rates\nrate: 1\nmode: 'fast'\n"),
        "b.json": Excerpt('{"a": "b"}'),
    }
    assert draw_lines(config, random.Random(1)) == (
        "a.yaml:2| rate: 1",
        "a.yaml:3| mode: 'fast'",
        'b.json:1| {"a": "b"}',
    )
    long = {"p.py": Excerpt("".join(f"x{n} = {n}\nf()\n" for n in range(500)))}
    drawn = [draw_lines(long, random.Random(seed)) for seed in (1, 2, 1)]
    assert drawn[0] == drawn[2] != drawn[1]
    assert len(drawn[0]) == MAX_LINES
    assert sum("=" in line for line in drawn[0]) == MAX_LINES * 2 // 3
    assert draw_lines({"p.py": Excerpt("# nothing\n")}, random.Random(1)) == ()


def test_a_genome_without_code_is_asked_for_in_blocks():
    """There is no line to pick."""
    prompt = render(dataclasses.replace(BRIEF, genome={"p.py": "# todo\n"}), picks_lines=True)
    assert prompt.lines == ()
    assert "SEARCH" in prompt.request


def test_replacements_keep_the_indentation_of_their_lines_and_may_be_several():
    """The first line stands where the old one stood, the rest moves with it."""
    edits = [
        {
            "line": "11| return x * RATE",
            "replacement": "for _ in range(2):\n    x *= RATE\nreturn x",
        },
        {"line": "6| RATE = 0.1  # of learning", "replacement": ""},
    ]
    reply = read({"hypothesis": "why", "edits": edits}, {"p.py": PROGRAM})
    changed = "\n".join(reply.changes[0].lines)
    assert "        for _ in range(2):\n            x *= RATE\n        return x\n" in changed
    assert "RATE = 0.1" not in changed


def test_a_small_model_is_shown_little():
    """Whatever the history and the window."""
    known = Capabilities(parameters=1, window=100_000)
    limit = known.max_prompt_chars(ModelSettings("openai", "m", price=FREE))
    assert limit == SMALL_PROMPT_CHARS
    long = dataclasses.replace(BRIEF, genome={"p.py": "x = 1\n" * 9_000}, program="p" * 50_000)
    assert render(long, limit, picks_lines=True).chars < limit + 500
