"""The factory of language-model agents: keys, prices, settings, wire formats, limiters."""

import dataclasses

import pytest

from harness.contract import SetupError
from swarm.agents.llm.agent import LanguageModel
from swarm.agents.llm.budget import Budget
from swarm.agents.llm.factory import RateLimiters, make_agent
from swarm.agents.llm.settings import ModelSettings, Price, check_settings
from tests.support.loopback import KEY


def test_a_missing_key_is_refused_at_the_start_and_a_local_server_needs_none(monkeypatch):
    """The error names agent and variable; a base_url without a variable needs no key."""
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(SetupError, match=r"'m' in program.md needs a key.*ANTHROPIC_API_KEY"):
        make_agent("m", ModelSettings("anthropic", "x"), RateLimiters(), Budget())
    local = ModelSettings("openai", "x", base_url="http://localhost:11434/v1")
    assert isinstance(make_agent("m", local, RateLimiters(), Budget()), LanguageModel)


@pytest.mark.parametrize("key", ["two words", "new\nline", "clé"])
def test_a_key_that_no_header_can_carry_is_refused_unseen(monkeypatch, key):
    """The error names the variable and does not show its value."""
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(SetupError, match="OPENAI_API_KEY does not hold a key") as raised:
        make_agent("m", ModelSettings("openai", "x"), RateLimiters(), Budget())
    assert key not in str(raised.value)


def test_a_limit_in_dollars_requires_a_price(monkeypatch):
    """Without a price nothing could be reserved; a price of zero is a price."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(SetupError, match="no `price`"):
        make_agent("m", ModelSettings("openai", "x"), RateLimiters(), Budget(max_usd=1.0))
    free = ModelSettings("openai", "x", price=Price(0, 0, 0, 0))
    make_agent("m", free, RateLimiters(), Budget(max_usd=1.0))
    make_agent("m", ModelSettings("openai", "x"), RateLimiters(), Budget())


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"model": ""}, "model"),
        ({"base_url": "localhost:11434"}, "base_url"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"max_output_tokens": -1}, "max_output_tokens"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds"),
        ({"price": Price(1, float("inf"), 0, 0)}, "price.output"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(changes, setting):
    """Each message names the agent and the key of program.md."""
    settings = dataclasses.replace(ModelSettings("openai", "x"), **changes)
    with pytest.raises(SetupError, match=f"agent 'm' in program.md: `{setting}`"):
        check_settings("m", settings)


def test_the_wire_format_follows_kind_and_address_and_limiters_are_shared_by_key(monkeypatch):
    """OpenAI's own host gets Responses, any other chat completions; one key, one limiter."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OTHER", "sk-other")
    limiters, budget = RateLimiters(), Budget()
    own = ModelSettings("openai", "x", requests_per_minute=50)
    spelt = dataclasses.replace(own, base_url="https://api.openai.com/v1", api_key_env="OTHER")
    local = dataclasses.replace(own, base_url="http://localhost:1/v1")
    slow = dataclasses.replace(own, model="y", requests_per_minute=5)
    a, b, c, d = (make_agent("m", s, limiters, budget) for s in (own, spelt, local, slow))
    formats = [type(agent.client.provider) for agent in (a, b, c)]
    assert [each.__name__ for each in formats] == ["ResponsesModel", "ResponsesModel", "ChatModel"]
    assert a.client.meter.limiter is d.client.meter.limiter
    assert a.client.meter.limiter.requests_per_minute == 5
    assert len({id(agent.client.meter.limiter) for agent in (a, b, c)}) == 3
