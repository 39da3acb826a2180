"""One call through the gateway: what the provider gets, what the agent gets, what is recorded."""

import asyncio
import json

import httpx2
import pytest

from harness.contract import SetupError
from islands.records import Usage
from swarm.agents.base import AgentError
from swarm.agents.llm.budget import Budget, BudgetError
from swarm.agents.llm.settings import Tokens
from tests.support.doors import APIS, PATHS, body_of, client_of, gateway_of, post, settings_of
from tests.support.language_models import PRICE
from tests.support.loopback import KEY, Cut, Hang, Say, Status


def through(server, api, make, budget=None, **settings):
    """Run `make(lease)`; return its result, the lease and the recorded calls."""

    async def main():
        calls = []
        async with gateway_of(budget, calls.append) as gateway:
            lease = await gateway.open("m", settings_of(server, api, **settings), experiment=7)
            result = await make(lease)
            await lease.close()
            return result, lease, calls

    return asyncio.run(main())


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("api", APIS)
def test_the_model_is_pinned_the_output_bounded_and_every_token_counted(server, api, stream):
    """The provider gets its key, the agent the answer, the record the provider's own counts."""
    server.play([Say("a better way", cached=20, wrote=10)])
    answer, lease, [call] = through(server, api, lambda lease: post(lease, api, stream=stream))
    [served] = server.log
    assert answer.status_code == 200
    assert "a better way" in answer.text
    assert served.request.key == KEY
    assert served.request.body["model"] == "some-model"
    assert served.request.max_output == 8192
    assert (call.tokens_in, call.tokens_out) == (served.tokens_in, served.tokens_out)
    assert (call.tokens_cached, call.tokens_untold, call.status) == (20, 0, 200)
    usd = PRICE.usd(Tokens(served.tokens_in - 30, served.tokens_out, 20, 10))
    assert call.usd == lease.usage.usd == pytest.approx(usd)
    assert (call.agent, call.model, call.experiment) == ("m", "some-model", 7)
    assert lease.usage == Usage(1, served.tokens_in, served.tokens_out, call.usd)
    if api == "chat" and stream:
        assert "usage" not in answer.text  # the client did not ask for it
        assert answer.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("api", APIS)
def test_no_key_and_no_account_header_passes_either_way(server, api):
    """A provider that repeats the key is read without it; no other header of the agent goes out."""
    server.play([Status(400, message=f"bad key {KEY}"), Say(f"my key is {KEY}")])
    foreign = {
        "OpenAI-Organization": "org-x",
        "OpenAI-Project": "p",
        "X-Custom": "c",
        "Cookie": "c",
    }

    async def make(lease):
        async with client_of(lease) as client:
            body = body_of(api)
            return [await client.post(PATHS[api], json=body, headers=foreign) for _ in range(2)]

    answers, lease, calls = through(server, api, make)
    assert [answer.status_code for answer in answers] == [400, 200]
    told = "".join(answer.text + str(answer.headers) for answer in answers)
    assert "bad key [key]" in told
    assert KEY not in told + repr(lease) + str(lease.failure) + repr(calls)
    assert not {name.lower() for name in foreign} & {*server.headers}
    assert lease.token not in str(server.headers)
    assert server.headers["user-agent"].startswith("swarm")


@pytest.mark.parametrize("api", APIS)
def test_a_call_without_room_in_the_budget_is_refused_and_never_sent(server, api):
    """The agent is told not to try again; the lease says why."""
    answer, lease, calls = through(server, api, lambda lease: post(lease, api), Budget(0.1))
    assert (answer.status_code, answer.headers["x-should-retry"]) == (402, "false")
    assert "no room" in answer.json()["error"]["message"]
    assert isinstance(lease.failure, BudgetError)
    assert (server.log, calls, lease.usage) == ([], [], Usage())


def test_only_an_open_leases_token_opens_a_door(server, tmp_path):
    """401 for a foreign token, at another lease's socket, and once the lease is closed."""

    async def main():
        async with gateway_of() as gateway:
            settings, place = settings_of(server, "messages"), tmp_path / "door.sock"
            one = await gateway.open("m", settings, socket=place)
            other = await gateway.open("m", settings)
            statuses = []
            transport = httpx2.AsyncHTTPTransport(uds=str(place))
            async with httpx2.AsyncClient(transport=transport, base_url="http://door") as client:
                for token in ("", KEY, other.token, one.token):
                    headers = {"x-api-key": token}
                    body = body_of("messages")
                    answer = await client.post("/v1/messages", json=body, headers=headers)
                    statuses.append(answer.status_code)
            await one.close()
            assert not place.exists()
            statuses.append((await post(one, "messages")).status_code)
            statuses.append((await post(other, "messages")).status_code)
            return statuses

    server.play([Say("yes"), Say("yes")])
    assert asyncio.run(main()) == [401, 401, 401, 200, 401, 200]


def test_closing_a_lease_ends_its_calls_at_what_they_may_have_cost(server):
    """The provider never answers; the books hold the most that it can bill."""
    told = []

    async def main():
        loop, called = asyncio.get_running_loop(), asyncio.Event()

        def hang(_request):
            loop.call_soon_threadsafe(called.set)
            return Hang()

        server.play(hang)
        async with gateway_of() as gateway:
            settings = settings_of(server, "messages")
            lease = await gateway.open("m", settings, on_usage=told.append)
            waiting = asyncio.create_task(post(lease, "messages"))
            await called.wait()
            await lease.close()
            with pytest.raises(httpx2.HTTPError):
                await waiting
            return lease, gateway.budget

    lease, budget = asyncio.run(main())
    assert lease.usage == told[-1]
    assert lease.usage.tokens_untold > 8192
    assert lease.usage.usd > PRICE.usd(Tokens(output=8192))
    assert budget.spent_usd == pytest.approx(lease.usage.usd, abs=1e-8)


def test_a_cut_stream_costs_the_input_it_told_and_the_most_output(server):
    """Anthropic's streams begin with the tokens of the input."""
    server.play([Cut()])

    async def make(lease):
        with pytest.raises(httpx2.HTTPError):
            await post(lease, "messages")

    _, lease, [call] = through(server, "messages", make)
    sent = server.log[0].tokens_in
    assert (call.tokens_in, call.tokens_out, call.tokens_untold) == (sent, 0, 8192)
    assert lease.usage.usd == call.usd == PRICE.usd(Tokens(sent, 8192))
    assert isinstance(lease.failure, AgentError)
    assert lease.failure.error_kind == "network"


@pytest.mark.parametrize(
    ("api", "more"),
    [
        ("messages", {"tools": [{"type": "web_search_20260209", "name": "web_search"}]}),
        ("messages", {"mcp_servers": [{"url": "https://x"}]}),
        ("messages", {"messages": [{"role": "user", "content": [{"type": "document"}]}]}),
        ("responses", {"tools": [{"type": "web_search"}]}),
        ("responses", {"previous_response_id": "resp_1"}),
        ("chat", {"n": 8}),
    ],
)
def test_what_has_no_bound_is_refused(server, api, more):
    """Tools, conversations and documents at the provider, and more answers than one."""
    answer, _, calls = through(server, api, lambda lease: post(lease, api, **more))
    assert answer.status_code == 400
    assert "no bound" in answer.json()["error"]["message"]
    assert (server.log, calls) == ([], [])


def test_what_is_dearer_is_taken_out(server):
    """A tier of service, a cache of an hour, a beta of long contexts, more output or reasoning."""
    server.play([Say("yes")])
    part = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    more = {
        "messages": [{"role": "user", "content": [part]}],
        "service_tier": "priority",
        "thinking": {"type": "enabled", "budget_tokens": 20_000},
    }

    async def make(lease):
        async with client_of(lease) as client:
            headers = {"anthropic-beta": "context-1m-2025-08-07,interleaved-thinking-2025-05-14"}
            body = body_of("messages", **more)
            return await client.post(PATHS["messages"], json=body, headers=headers)

    through(server, "messages", make)
    [served] = server.log
    assert "service_tier" not in served.request.body
    assert "ttl" not in json.dumps(served.request.body)
    assert served.request.body["thinking"]["budget_tokens"] < served.request.max_output == 8192
    assert server.headers["anthropic-beta"] == "interleaved-thinking-2025-05-14"


@pytest.mark.parametrize(
    ("refusal", "kept"),
    [
        ("use max_completion_tokens in place of max_tokens", "max_completion_tokens"),
        ("stream_options is not supported", "max_tokens"),
        ("max_tokens: at most 1000", "max_tokens"),
    ],
)
def test_a_parameter_of_ours_that_is_refused_is_left_out(server, refusal, kept):
    """The agent sees one answer; what was learnt holds for the model's later calls."""
    server.play([Status(400, message=refusal), Say("yes"), Say("yes")])

    async def make(lease):
        return [await post(lease, "chat") for _ in range(2)]

    answers, lease, calls = through(server, "chat", make)
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [call.status for call in calls] == [400, 200, 200]
    assert kept in server.log[1].request.body
    assert server.log[1].request.body == server.log[2].request.body
    assert lease.failure is None


def test_what_clients_ask_beside_is_answered_here(server):
    """Models, token counts, a look at the root; anything else is not found. None is forwarded."""

    async def make(lease):
        async with client_of(lease) as client:
            return [
                await client.request(method, path, content=b"{}")
                for method, path in [
                    ("HEAD", "/"),
                    ("GET", "/v1/models"),
                    ("GET", "/v1/models/some-model?beta=true"),
                    ("POST", "/v1/messages/count_tokens?beta=true"),
                    ("POST", "/v1/responses"),
                    ("POST", "/api/event_logging/batch"),
                ]
            ]

    answers, *_ = through(server, "messages", make)
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 404, 404]
    assert answers[1].json()["data"][0]["id"] == answers[2].json()["id"] == "some-model"
    assert answers[3].json()["input_tokens"] > 0


def test_a_subscriptions_token_is_held_here_like_a_key(server, monkeypatch):
    """`claude setup-token` prints it; the provider gets it as a login, the agent its own token."""
    monkeypatch.setenv("LOOPBACK_KEY", "sk-ant-oat01-abc")

    async def make(lease):
        async with client_of(lease) as client:
            headers = {"anthropic-beta": "interleaved-thinking-2025-05-14"}
            return await client.post(PATHS["messages"], json=body_of("messages"), headers=headers)

    answer, *_ = through(server, "messages", make)
    assert answer.status_code == 401  # this server knows another key
    assert server.headers["authorization"] == "Bearer sk-ant-oat01-abc"
    assert "x-api-key" not in server.headers
    assert server.headers["anthropic-beta"] == "interleaved-thinking-2025-05-14,oauth-2025-04-20"
    assert "sk-ant" not in answer.text


@pytest.mark.parametrize("api", APIS)
def test_half_a_character_is_replaced_on_its_way(server, api):
    """A client in JavaScript may cut a tool's output in the middle of an emoji."""
    server.play([Say("yes")])

    async def make(lease):
        async with client_of(lease) as client:
            data = json.dumps(body_of(api, text="cut \ud83d")).encode()
            return await client.post(PATHS[api], content=data)

    answer, lease, _ = through(server, api, make)
    assert answer.status_code == 200
    assert "cut \N{REPLACEMENT CHARACTER}" in json.dumps(
        server.log[0].request.body, ensure_ascii=False
    )
    assert lease.failure is None


def test_a_body_that_is_nested_too_deep_is_no_request(server):
    """It is refused like what is no JSON."""

    async def make(lease):
        async with client_of(lease) as client:
            data = b'{"messages":' + b"[" * 5000 + b"]" * 5000 + b"}"
            return await client.post(PATHS["chat"], content=data)

    answer, *_ = through(server, "chat", make)
    assert (answer.status_code, server.log) == (400, [])


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (LookupError(f"no {KEY}"), "server", "a bug in swarm: LookupError: no [key]"),
        (SetupError("run `codex login`"), "unavailable", "run `codex login`"),
    ],
)
def test_an_error_of_ours_is_answered_and_is_the_leases_failure(server, capfd, error, kind, told):
    """The client is told not to try again, the connection serves on, a bug is told once."""

    def break_(usage):
        raise error

    async def main():
        async with gateway_of() as gateway:
            lease = await gateway.open("m", settings_of(server, "chat"), on_usage=break_)
            async with client_of(lease) as client:
                answers = [await client.post(PATHS["chat"], json=body_of("chat")) for _ in "12"]
                models = await client.get("/v1/models")
            return answers, models, lease, len(gateway._connections)

    answers, models, lease, connections = asyncio.run(main())
    assert [answer.status_code for answer in answers] == [500, 500]
    assert told in answers[0].json()["error"]["message"]
    assert answers[0].headers["x-should-retry"] == "false"
    assert models.status_code == 200
    assert connections <= 1
    assert isinstance(lease.failure, AgentError)
    assert (lease.failure.error_kind, len(lease.unanswered)) == (kind, 2)
    assert told in str(lease.failure)
    printed = capfd.readouterr().err
    assert printed.count("Traceback") == (kind == "server")
    assert KEY not in printed
    assert server.log == []
