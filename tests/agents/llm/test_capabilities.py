"""Refused parameters are left out and remembered; the environment's proxies and headers."""

import asyncio
import contextlib
import dataclasses
import json

import pytest

from harness.contract import SetupError
from islands.records import Proposal
from swarm.agents.base import AgentError
from swarm.agents.llm.network import explain, http_client, proxy_of
from swarm.agents.llm.settings import ModelSettings
from tests.support.language_models import (
    BRIEF,
    GOOD,
    ClosingAgents,
    make_model_agent,
    propose,
)
from tests.support.loopback import Garbage, Status

REFUSALS = [
    ("anthropic", "thinking: adaptive thinking is not supported on this model", "thinking"),
    ("anthropic", "output_config.effort: Extra inputs are not permitted", "output_config"),
    (
        "chat",
        "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
        "max_tokens",
    ),
    ("chat", "Unrecognized request argument supplied: reasoning_effort", "reasoning_effort"),
    ("responses", "Unsupported parameter: 'reasoning.effort'", "reasoning"),
]


@pytest.mark.parametrize(("api", "refusal", "name"), REFUSALS)
def test_a_refused_parameter_is_left_out_from_then_on(server, api, refusal, name):
    """The same proposal succeeds without it, and the next one does not send it again."""
    server.play(lambda r: Status(400, message=refusal) if name in r.body else GOOD)
    agent = make_model_agent(server, api, effort="low")
    assert isinstance(propose(agent), Proposal)
    assert [name in served.request.body for served in server.log] == [True, False]
    assert agent.client.capabilities.refused == {name}
    if name == "max_tokens":
        assert server.log[1].request.body["max_completion_tokens"] == 8192


def test_a_limit_on_output_tokens_is_kept_from_then_on(server, api):
    """The model takes fewer output tokens than program.md allows: asked again with its number."""
    name = {"anthropic": "max_tokens", "responses": "max_output_tokens"}.get(api, "max_tokens")
    refusal = f"{name} is too large: 8192. This model supports at most 4096 completion tokens"
    server.play(lambda r: Status(400, message=refusal) if r.body[name] > 4096 else GOOD)
    assert isinstance(propose(make_model_agent(server, api)), Proposal)
    assert [served.request.body[name] for served in server.log] == [8192, 4096]


def test_a_server_that_only_streams_is_read_as_a_stream(server):
    """Text, reasoning, ending and usage come in chunks."""
    parts = [GOOD.text[:20], GOOD.text[20:]]
    chunks = [{"choices": [{"index": 0, "delta": {"content": part}}]} for part in parts]
    chunks += [
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}},
    ]
    lines = [json.dumps({"id": "1", "object": "chat.completion.chunk", **one}) for one in chunks]
    body = "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]).encode()

    def answer(request):
        refusal = Status(400, message="Stream must be set to true")
        return Garbage(body) if request.body.get("stream") else refusal

    server.play(answer)
    proposal = propose(make_model_agent(server, "chat"))
    assert isinstance(proposal, Proposal), proposal
    assert (proposal.usage.tokens_in, proposal.usage.tokens_out) == (7, 3)


def test_account_headers_of_the_environment_stay_at_home(server, api, monkeypatch):
    """A foreign base_url gets neither organisation and project nor anybody's custom headers."""
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-secret")
    for kind in ("OPENAI", "ANTHROPIC"):
        monkeypatch.setenv(
            f"{kind}_CUSTOM_HEADERS", "X-Team: team-secret\nAuthorization: Bearer no"
        )
    server.play([GOOD])
    assert isinstance(propose(make_model_agent(server, api)), Proposal)
    assert "secret" not in str(server.headers)


def test_proxies_are_used_named_and_never_for_loopback(server, monkeypatch):
    """HTTP_PROXY does not catch 127.0.0.1, socks5:// is refused, and errors name the proxy."""
    monkeypatch.setenv("http_proxy", "http://me:pw@127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:9")
    server.play([GOOD])
    assert isinstance(propose(make_model_agent(server, "chat")), Proposal)
    assert proxy_of("http://localhost:11434/v1") == ""
    assert proxy_of("http://models.example/v1") == "http://me:pw@127.0.0.1:9"
    with pytest.raises(SetupError, match=r"socks5://127.0.0.1:9 for https://x.example: only http"):
        http_client(ModelSettings("openai", "m", "https://x.example"))
    line = explain(OSError("no"), ModelSettings("openai", "m", "http://models.example/v1"))
    assert "through the proxy http://127.0.0.1:9 of the environment" in line
    assert "pw" not in line


def test_a_server_that_is_not_started_is_named_with_the_fix():
    """The line for Ollama says how to start it."""
    settings = ModelSettings("openai", "m", "http://localhost:11434/v1")
    line = explain(ConnectionRefusedError(111, "no"), settings)
    assert line == (
        "connection refused at http://localhost:11434/v1: start Ollama (`ollama serve`) or change"
        " `base_url`"
    )


def test_ollama_is_asked_for_a_context_that_holds_the_prompt(server):
    """It is recognised, its own API gets `num_ctx`, and a longer prompt is shortened by us."""
    server.context_length = 32_768
    try:
        agent = make_model_agent(server, "chat", price=None)
        long = {f"g/f{n}.py": f"x{n} = {n}  # padding\n" * 900 for n in range(6)}
        server.play([GOOD, GOOD])

        async def main():
            async with contextlib.aclosing(ClosingAgents(agent)):
                await agent.probe()
                await agent.propose(BRIEF)
                with contextlib.suppress(AgentError):
                    await agent.propose(dataclasses.replace(BRIEF, genome=long))

        asyncio.run(main())
    finally:
        del server.context_length
    first, second = (served.request.body for served in server.log[:2])
    assert first["options"] == {"num_ctx": 16_384, "num_predict": 16_384 // 3}
    assert len(str(second["messages"])) < 3 * 16_384
    assert "Left out, because all of it is too long" in str(second["messages"])
