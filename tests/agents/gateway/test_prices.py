"""Prices: program.md's before the table's, none on this machine, unknown elsewhere."""

import asyncio

import pytest

from harness.contract import SetupError
from swarm.agents.gateway.prices import FREE, known_price, price_line, priced, table
from swarm.agents.llm.budget import Budget, BudgetError
from swarm.agents.llm.factory import RateLimiters, make_agent
from swarm.agents.llm.settings import ModelSettings, Price, Tokens
from tests.support.language_models import BRIEF

STATED = Price(1, 2, 1, 1)


@pytest.mark.parametrize(
    ("kind", "model", "url", "stated", "price"),
    [
        ("anthropic", "claude-sonnet-5-5", "", None, Price(2, 10, 0.1, 2.5)),
        ("anthropic", "claude-haiku-4-5-20251001", "", None, Price(1, 5, 0.1, 1.25)),
        ("openai", "gpt-5-mini-2025-08-07", "", None, Price(0.25, 2, 0.025, 0.25)),
        ("openai", "gpt-5-mini", "https://api.openai.com/v1", STATED, STATED),
        ("openai", "gpt-5-mini", "https://elsewhere.example/v1", None, None),
        ("openai", "gpt-5-minimal", "", None, None),
        ("openai", "qwen2.5-coder:7b", "http://localhost:11434/v1", None, FREE),
        ("openai", "qwen2.5-coder:7b", "http://[::1]:1/v1", STATED, STATED),
    ],
)
def test_a_price_is_stated_known_or_unknown(kind, model, url, stated, price):
    """The line that a launch prints says which."""
    settings = ModelSettings(kind, model, url, price=stated)
    assert known_price(settings) == price
    line = price_line("a", priced(settings))
    assert ("unknown" in line) == (price is None)
    assert ("program.md)" in line) == (stated is not None)
    packaged = stated is None and price not in (None, FREE)
    assert (f"the table of {table().checked}" in line) == packaged


def test_a_long_prompt_costs_what_the_table_says():
    """Above the limit the whole call is dearer, its bound included."""
    price = known_price(ModelSettings("openai", "gpt-6.2-sol"))
    assert price.usd(Tokens(272_000, 1000)) == pytest.approx(0.544 + 0.01)
    assert price.usd(Tokens(1, 1000, 272_000)) == pytest.approx((4 + 0.2 * 272_000 + 15_000) / 1e6)
    assert price.max_usd(272_001, 1000) == pytest.approx((272_001 * 5 + 15_000) / 1e6)


def test_a_dollar_limit_refuses_what_has_no_price(monkeypatch):
    """At launch, with the fix; a model of the table or of this machine is taken."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    limited = Budget(max_usd=1.0)
    for model, url in [("gpt-5-mini", ""), ("any", "http://127.0.0.1:1/v1")]:
        make_agent("a", ModelSettings("openai", model, url), RateLimiters(), limited)
    with pytest.raises(SetupError, match=r"price.*of any-model .* is unknown.*remove the limit"):
        make_agent("a", ModelSettings("openai", "any-model"), RateLimiters(), limited)


def test_a_limit_that_is_set_later_stops_what_has_no_price(monkeypatch):
    """No call is made whose dollars nobody could count."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    budget = Budget()
    agent = make_agent("a", ModelSettings("openai", "any-model"), RateLimiters(), budget)
    budget.max_usd = 5.0
    with pytest.raises(BudgetError, match="price of any-model is unknown"):
        asyncio.run(agent.propose(BRIEF))
