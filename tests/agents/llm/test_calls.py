"""Calls of a language model in each wire format: replies, repairs, failures and their cost."""

import asyncio
import contextlib
import dataclasses
import logging

import pytest
from pydantic import TypeAdapter

from islands.records import Attempt, Proposal
from swarm.agents.llm.agent import MAX_REPAIRS, LanguageModel
from swarm.agents.llm.client import MAX_TRIES, max_tokens_of
from swarm.agents.llm.prompt import render
from swarm.agents.llm.provider import CallError, parse_body, reason_line
from swarm.agents.llm.rate_limiter import RateLimiter
from swarm.agents.llm.settings import Tokens
from tests.support.language_models import (
    BRIEF,
    FAST,
    GOOD,
    MISSES,
    PRICE,
    ClosingAgents,
    edit,
    make_model_agent,
    outcome_of,
    probe,
    propose,
)
from tests.support.loopback import KEY, Cut, Garbage, Hang, Loopback, Refuse, Say, Status, Truncate


def test_a_good_edit_becomes_a_proposal_with_its_exact_cost(server, api):
    """Hypothesis, files and usage, with the server's own token counts priced by kind."""
    server.play([Say(GOOD.text, cached=40, wrote=20)])
    agent = make_model_agent(server, api)
    proposal = propose(agent)
    (served,), usage = server.log, proposal.usage
    assert proposal.hypothesis == "a smaller step"
    assert proposal.files["seed/train.py"].data.startswith(b"lr = 0.05\ndepth = 2\n")
    assert (usage.calls, usage.tokens_in, usage.tokens_out) == (1, *server.tokens)
    tokens = Tokens(served.tokens_in - 60, served.tokens_out, cache_read=40, cache_write=20)
    assert usage.usd == pytest.approx(PRICE.usd(tokens), rel=1e-12)
    assert agent.client.meter.budget.spent_usd == pytest.approx(usage.usd, abs=2e-9)


def test_each_format_carries_its_own_settings(server, api):
    """Limit, effort, key and privacy go out as each API has them; no sampling settings do."""
    server.play([GOOD])
    propose(make_model_agent(server, api, effort="low", max_output_tokens=77))
    request = server.log[0].request
    body = request.body
    assert (request.key, body["model"], request.max_output) == (KEY, "some-model", 77)
    assert not {"temperature", "top_p", "top_k"} & set(body)
    if api == "anthropic":
        assert (body["thinking"], body["output_config"]) == (
            {"type": "adaptive"},
            {"effort": "low"},
        )
    elif api == "responses":
        assert (body["store"], body["reasoning"]) == (False, {"effort": "low"})
    else:
        assert body["reasoning_effort"] == "low"


def test_an_edit_that_does_not_apply_is_sent_back_with_the_nearest_lines(server, api):
    """The second request is the same conversation, plus the answer and what is near it."""
    server.play([MISSES, GOOD])
    proposal = propose(make_model_agent(server, api))
    first, second = (served.request for served in server.log)
    assert second.system == first.system
    assert second.turns[: len(first.turns)] == first.turns
    (role, answer), (next_role, complaint) = second.turns[len(first.turns) :]
    assert (role, answer.strip(), next_role) == ("assistant", MISSES.text.strip(), "user")
    assert "    4 | def step(x):\n    5 |     return x * lr" in complaint
    assert proposal.notes["repairs"] == 1.0
    assert (proposal.usage.tokens_in, proposal.usage.tokens_out) == server.tokens


@pytest.mark.parametrize(
    ("step", "error_kind"),
    [
        (MISSES, "unapplied"),
        (Say("I would rather talk."), "malformed"),
        (Truncate("HYPO"), "malformed"),
    ],
)
def test_useless_answers_are_sent_back_three_times_and_no_more(server, api, step, error_kind):
    """Edits that do not apply, replies out of format and truncated replies end as failures."""
    server.play([dataclasses.replace(step, text=f"{step.text} {n}") for n in range(9)])
    error = propose(make_model_agent(server, api))
    assert (error.error_kind, len(server.log)) == (error_kind, 1 + MAX_REPAIRS)
    assert (error.usage.tokens_in, error.usage.tokens_out) == server.tokens
    assert f"some-model at {server.url}" in str(error)


def test_an_answer_that_repeats_itself_ends_the_proposal(server):
    """A repair that is the same word for word will not change: two calls, not four."""
    server.play([MISSES] * 9)
    error = propose(make_model_agent(server, "chat"))
    assert (error.error_kind, len(server.log)) == ("unapplied", 2)
    assert "the same answer again" in str(error)


def test_a_refusal_ends_the_proposal_at_its_cost(server, api):
    """A refusal by a model or a filter is not followed by a repair request."""
    server.play([Refuse("I will not"), GOOD])
    error = propose(make_model_agent(server, api))
    assert (error.error_kind, len(server.log)) == ("refusal", 1)
    assert "I will not" in str(error)
    assert (error.usage.tokens_in, error.usage.tokens_out) == server.tokens


FAILURES = [
    (Status(429, {"retry-after": "0.01"}), "rate", True),
    (Status(529), "server", True),
    (Status(503, {"retry-after": "0.01"}), "server", True),
    (Status(500), "server", True),
    (Status(502), "server", False),
    (Garbage(), "malformed", False),
    (Cut(), "network", False),
]


@pytest.mark.parametrize(("step", "error_kind", "free"), FAILURES)
def test_a_call_that_fails_is_made_again_and_billed_at_its_worst_unless_it_was_free(
    server, api, step, error_kind, free
):
    """Three failures and a good answer are a proposal; five failures are none."""
    server.play([step] * 3 + [GOOD])
    agent = make_model_agent(server, api)
    proposal = propose(agent)
    served = server.log[3]
    answered_usd = PRICE.usd(Tokens(served.tokens_in, served.tokens_out))
    prompt = render(BRIEF)
    worst = PRICE.max_usd(max_tokens_of(prompt, ()), 8192)
    assert proposal.usage.calls == 4
    assert proposal.usage.usd == pytest.approx(answered_usd + (0 if free else 3 * worst))
    assert agent.client.meter.budget.spent_usd == pytest.approx(proposal.usage.usd, abs=1e-8)
    assert (proposal.usage.tokens_in, proposal.usage.tokens_out) == server.tokens

    server.play([step] * 9)
    error = propose(make_model_agent(server, api))
    assert (error.error_kind, error.usage.calls, len(server.log)) == (
        error_kind,
        MAX_TRIES,
        MAX_TRIES,
    )


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[" * 10_000, b'{"content": [{"type": 1}]}', b"\xff"]
)
def test_a_body_that_is_not_the_format_is_malformed(server, api, body):
    """A 200 with any invalid body is reported as a malformed reply."""
    server.play([Garbage(body)] * MAX_TRIES)
    assert propose(make_model_agent(server, api)).error_kind == "malformed"


def test_a_call_without_an_answer_times_out_at_its_worst_cost_and_is_not_made_again(server, api):
    """The server never answers: one request, billed at the whole reservation."""
    server.play([GOOD])
    propose(
        make_model_agent(server, api)
    )  # the SDKs import much on their first call: not within the limit
    server.play([Hang(), GOOD])
    agent = make_model_agent(server, api, timeout_seconds=0.5)
    error = propose(agent)
    assert (error.error_kind, error.usage.calls, len(server.log)) == ("timeout", 1, 1)
    assert error.usage.usd == pytest.approx(PRICE.max_usd(max_tokens_of(render(BRIEF), ()), 8192))
    assert agent.client.meter.budget.spent_usd == pytest.approx(error.usage.usd, abs=2e-9)


def test_a_server_that_is_not_there_costs_nothing(api):
    """Nothing listens: every try is a network error and costs nothing."""
    with Loopback() as unreachable:
        pass
    agent = make_model_agent(unreachable, api)
    error = propose(agent)
    assert (error.error_kind, error.usage.calls, error.usage.usd) == ("network", MAX_TRIES, 0.0)
    assert agent.client.meter.budget.spent_usd == 0.0


@pytest.mark.parametrize(
    ("step", "fixes"),
    [
        (Status(401), ["LOOPBACK_KEY", "valid one"]),
        (Status(403), ["LOOPBACK_KEY", "may not use"]),
        (Status(404), ["`model`", "`base_url`"]),
        (Status(402), ["LOOPBACK_KEY", "out of credit"]),
        (Status(429, error_code="insufficient_quota"), ["out of credit"]),
    ],
)
def test_what_only_the_user_can_fix_concerns_one_agent(server, api, step, fixes):
    """No credit, no access, no such model: one try, and a line with agent, setting and fix.

    In the middle of a run it is this agent's failure; before the launch it stops the launch.
    """
    server.play([step, GOOD])
    error = propose(make_model_agent(server, api))
    assert (error.error_kind, len(server.log), error.usage.usd) == ("unavailable", 1, 0.0)
    parts = ["agent 'm' in program.md", "some-model", *fixes]
    assert not [part for part in parts if part not in str(error)]
    assert "\n" not in str(error)
    server.on_probe = step
    try:
        stop = probe(make_model_agent(server, api))
    finally:
        del server.on_probe
    assert str(stop) == str(error)


@pytest.mark.parametrize("step", [Garbage(b"<html>Welcome</html>"), Status(422, message="no")])
def test_a_probe_stops_the_launch_where_no_model_answers(server, api, step):
    """HTML at the address, or a refusal that no prompt would change; an overload is none."""
    server.on_probe = step
    try:
        stop = probe(make_model_agent(server, api))
        server.on_probe = Status(503, {"retry-after": "0"})
        passing = probe(make_model_agent(server, api))
    finally:
        del server.on_probe
    assert f"agent 'm' in program.md: some-model at {server.url}" in str(stop)
    assert passing is None


def test_a_key_is_asked_for_by_the_setting_that_sends_it(server, api):
    """OPENAI_API_KEY does not go to a base_url by itself: the line says how to send it."""
    server.play([GOOD])
    error = propose(make_model_agent(server, api, key="", api_key_env=""))
    usual = "ANTHROPIC_API_KEY" if api == "anthropic" else "OPENAI_API_KEY"
    assert f"`api_key_env: {usual}`" in str(error)
    server.play([Status(402)])
    agent = make_model_agent(server, api)
    bare = dataclasses.replace(agent.client.settings, api_key_env="")
    meter = dataclasses.replace(agent.client.meter, settings=bare)
    error = propose(LanguageModel("m", dataclasses.replace(agent.client, meter=meter)))
    assert "account of  " not in str(error)


PROMPT_ERRORS = [
    Status(413),
    Status(400, message="This model's maximum context length is 4096 tokens"),
    Status(400, message="prompt is too long: 210000 tokens > 200000 maximum"),
    Status(400, error_code="context_length_exceeded"),
]


@pytest.mark.parametrize("step", PROMPT_ERRORS)
def test_a_prompt_that_is_too_long_is_shortened_and_then_dropped(server, api, step):
    """The next prompt leaves out files and says so; in the end the proposal fails, free of cost."""
    long = {f"g/f{n}.py": f"x{n} = {n}  # padding\n" * 300 for n in range(6)}
    brief = dataclasses.replace(BRIEF, genome=long)
    answer = edit("<<", "y = 1").replace("seed/train.py", "g/new.py").replace("<<\n", "", 1)
    server.play([step, Say(answer)])
    agent = make_model_agent(server, api)
    assert propose(agent, brief).notes["error_kinds"] == "too_long"
    first, second = (sum(map(len, map(str, s.request.turns))) for s in server.log)
    assert second < first
    assert "Left out, because all of it is too long" in str(server.log[1].request.turns)
    server.play([step] * 20)
    error = propose(make_model_agent(server, api), brief)
    assert (error.error_kind, error.usage.usd) == ("too_long", 0.0)
    assert len(server.log) < 10


def test_a_request_that_is_refused_for_another_reason_fails_alone(server, api):
    """A 400 of unknown cause concerns this prompt: it is not made again, and ends no island."""
    server.play([Status(400), GOOD])
    error = propose(make_model_agent(server, api))
    assert (error.error_kind, error.usage.usd, len(server.log)) == ("rejected", 0.0, 1)


def test_a_content_filter_is_a_refusal_and_not_the_users_fault(server, api):
    """A 400 raised by a filter concerns this one prompt; the swarm continues."""
    server.play([Status(400, error_code="content_filter"), GOOD])
    error = propose(make_model_agent(server, api))
    assert (error.error_kind, error.usage.usd, len(server.log)) == ("refusal", 0.0, 1)


def test_no_key_shows_in_errors_logs_or_reprs(server, api, caplog):
    """The server echoes the key it was given; nothing we raise, log or print repeats it."""
    wrong = "sk-wrong-secret-42"
    server.play([GOOD])
    caplog.set_level(logging.DEBUG)
    agent = make_model_agent(server, api, key=wrong)
    error = propose(agent)
    assert "bad key Bearer [key]" in str(error)
    shown = [str(error), repr(error), repr(agent), repr(vars(agent.client.provider))]
    assert not [text for text in [*shown[:3], caplog.text] if wrong in text]


def test_a_long_retry_after_ends_the_proposal_at_once(server, api):
    """A pause of an hour fails this proposal and the next, without another request."""
    server.play([Status(429, {"retry-after": "3600"}), GOOD])
    agent = make_model_agent(server, api)

    async def main():
        async with contextlib.aclosing(ClosingAgents(agent)):
            return [await outcome_of(agent, BRIEF) for _ in range(2)]

    first, second = asyncio.run(main())
    assert (first.error_kind, first.retry_after) == ("rate", 3600.0)
    assert (second.error_kind, second.usage.calls) == ("rate", 0)
    assert 3500 < second.retry_after <= 3600
    assert len(server.log) == 1


def test_an_allowance_used_up_by_a_good_answer_holds_the_next_call(server):
    """Headers that report an exhausted quota make the limiter wait for the reset."""
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1h"}
    server.play([Say(GOOD.text, headers=headers), GOOD])
    limiter = RateLimiter(FAST)
    assert isinstance(propose(make_model_agent(server, "chat", limiter=limiter)), Proposal)
    assert limiter._resume_at > 3000


def test_prompt_caches_find_the_same_beginning(server):
    """Anthropic's two cache breakpoints come after the system text and after the genome."""
    server.play([GOOD, GOOD])
    attempt = Attempt(1, "a", "tried", {}, "discarded", "no gain")
    agents = [make_model_agent(server, "anthropic") for _ in range(2)]
    briefs = [BRIEF, dataclasses.replace(BRIEF, experiment=2, seed=8, recent=(attempt,), score=2.0)]
    for agent, brief in zip(agents, briefs, strict=True):
        propose(agent, brief)
    one, two = (served.request.body for served in server.log)
    assert one["system"] == two["system"]
    assert "cache_control" in one["system"][0]
    head, now = one["messages"][0]["content"]
    assert head == two["messages"][0]["content"][0]
    assert "cache_control" in head
    assert "cache_control" not in now
    assert now != two["messages"][0]["content"][1]


def test_a_change_that_breaks_a_files_syntax_is_sent_back(server, api):
    """In the same conversation, with the line: the model sees its answer; nothing is proposed."""
    broken = Say(edit("lr = 0.1", "    lr = 0.05"))
    server.play([broken, GOOD])
    made = propose(make_model_agent(server, api))
    assert (made.notes["repairs"], made.notes["error_kinds"]) == (1.0, "unapplied")
    told = server.log[1].request.turns[-1][1]
    assert "does not parse as Python" in told
    assert "which is then:     lr = 0.05." in told
    server.play([broken] * 2)
    failed = propose(make_model_agent(server, api))
    assert failed.error_kind == "unapplied"
    assert "the same answer again" in str(failed)


def test_of_a_proxys_page_an_error_tells_the_words():
    """No markup, no styles; an answer that is no page stays as it is."""
    page = (
        "<!DOCTYPE html>\n<html><head><style>a {}</style></head><body><h1>502 Bad Gateway</h1>"
        "<script>alert(1)</script><p>cloud &lt;7&gt;</p><!-- x --></body></html>"
    )
    assert reason_line(f"HTTP 502: {page}") == "HTTP 502: 502 Bad Gateway cloud <7>"
    with pytest.raises(
        CallError, match="a web page that says '502 Bad Gateway cloud <7>'; correct"
    ):
        parse_body(page.encode(), TypeAdapter(int).validate_json)
    assert reason_line('{"error": "a < b > c"}') == '{"error": "a < b > c"}'
