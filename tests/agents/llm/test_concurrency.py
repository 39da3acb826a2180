"""Budgets under 16 concurrent calls and a server that often fails."""

import asyncio
import contextlib
import dataclasses
import random
import re

import pytest

from islands.records import Proposal, Usage
from swarm.agents.base import AgentError
from swarm.agents.llm.budget import Budget, BudgetError
from swarm.agents.llm.client import max_tokens_of
from swarm.agents.llm.prompt import render
from swarm.agents.llm.rate_limiter import RateLimiter
from swarm.agents.llm.settings import Tokens
from tests.support.language_models import (
    APIS,
    BRIEF,
    FAST,
    GOOD,
    MISSES,
    PRICE,
    ClosingAgents,
    edit,
    make_model_agent,
    outcome_of,
)
from tests.support.loopback import Cut, Garbage, Say, Status


def numbered_brief(experiment):
    """Return a brief that the server can tell from others by its program."""
    return dataclasses.replace(BRIEF, experiment=experiment, program=f"Proposal {experiment}.")


def failing_script(seed):
    """Return a script: of 100 requests 8 are 429, 8 are 500, 4 are 529, 5 are cut, 30 malformed."""
    draw = random.Random(seed)

    def step(request):
        roll = draw.random()
        for below, chosen in [
            (0.04, Status(429)),
            (0.08, Status(429, {"retry-after": "0.004"})),
            (0.16, Status(500)),
            (0.20, Status(529)),
            (0.25, Cut()),
            (0.35, Garbage()),
            (0.45, Say("no edit at all")),
            (0.55, MISSES),
        ]:
            if roll < below:
                return chosen
        number = re.search(r"Proposal (\d+)\.", request.system)[1]
        return Say(edit("lr = 0.1", "lr = 0.05", why=number), cached=50, wrote=20)

    return step


class UsageBooks:
    """A ledger's view: each proposal's usage, before its requests and at its end."""

    def __init__(self):
        self.usages = {}

    def note(self, brief, usage):
        """Keep what the proposal costs if no further reply arrives."""
        self.usages[brief.experiment] = usage

    async def propose(self, agent, experiment):
        """Propose, and keep what it cost, however it ends."""
        outcome = await outcome_of(agent, numbered_brief(experiment))
        if not isinstance(outcome, BudgetError):
            self.usages[experiment] = outcome.usage
        return outcome

    @property
    def total(self):
        """The sum of all usages; safe to read from other threads."""
        usages = list(self.usages.values())
        return Usage(*(sum(getattr(u, f.name) for u in usages) for f in dataclasses.fields(Usage)))


def agents_of(server, budget, books, seed, apis):
    """Return an agent for each wire format; they share a limiter, `budget` and `books`."""
    limiter = RateLimiter(FAST, seed=seed)
    agents = [make_model_agent(server, api, budget, limiter) for api in apis]
    for agent in agents:
        agent.on_usage = books.note
    return agents


async def propose_all(agents, books, numbers):
    """Make these proposals, spread over the agents, concurrently; return the outcomes."""
    async with contextlib.aclosing(ClosingAgents(*agents)):
        return await asyncio.gather(
            *(books.propose(agents[number % len(agents)], number) for number in numbers)
        )


def _served_usd(server):
    """Return what the server would bill in all, truncated replies included."""
    total = 0.0
    for one in list(server.log):
        read, wrote = (one.step.cached, one.step.wrote) if isinstance(one.step, Say) else (0, 0)
        total += PRICE.usd(Tokens(one.tokens_in - read - wrote, one.tokens_out, read, wrote))
    return total


def test_in_a_storm_nothing_is_lost_and_every_token_is_counted_once(server, monkeypatch):
    """200 proposals, 16 concurrent requests: each gets its own reply, the books equal the log."""
    monkeypatch.setattr(server, "delay", 0.05)  # so that calls overlap on any machine
    server.play(failing_script(1))
    budget, books = Budget(), UsageBooks()
    agents = agents_of(server, budget, books, 1, APIS)
    outcomes = asyncio.run(propose_all(agents, books, range(200)))
    made = {
        n: outcome.hypothesis for n, outcome in enumerate(outcomes) if isinstance(outcome, Proposal)
    }
    assert made == {n: str(n) for n in made}
    assert len(made) > 150
    assert all(isinstance(one, Proposal | AgentError) for one in outcomes)
    assert books.total.calls == len(server.log)
    assert (books.total.tokens_in, books.total.tokens_out) == server.tokens
    assert budget.spent_usd == pytest.approx(books.total.usd, abs=1e-5)
    assert _served_usd(server) < budget.spent_usd
    assert server.max_concurrent == 16


def test_in_a_storm_max_usd_is_never_exceeded_at_sixteen_calls_at_once(server, monkeypatch):
    """A limit ends it half-way: at no request do the books, or the server's bill, exceed it.

    The server never bills more than the books hold, so a coordinator killed at any moment resumes
    with every dollar counted.
    """
    monkeypatch.setattr(server, "delay", 0.05)
    limit, looks, script = 4.0, [], failing_script(2)
    budget, books = Budget(max_usd=limit), UsageBooks()

    def watched(request):
        served = _served_usd(server)  # before the books are read: these can only fall meanwhile
        looks.append((served, books.total.usd, budget.spent_usd))
        return script(request)

    server.play(watched)
    agents = agents_of(server, budget, books, 2, ("anthropic", "chat"))
    outcomes = asyncio.run(propose_all(agents, books, range(200)))
    assert len(outcomes) == 200
    assert server.max_concurrent == 16
    assert sum(isinstance(one, BudgetError) for one in outcomes) > 20
    assert sum(isinstance(one, Proposal) for one in outcomes) > 20
    assert all(served <= written <= limit + 1e-9 for served, written, _ in looks)
    assert max(spent for _, _, spent in looks) <= budget.spent_usd <= limit
    # the remainder could not have paid for one more request at its maximum
    assert limit - budget.spent_usd < PRICE.max_usd(max_tokens_of(render(BRIEF), ()), 8192)
    assert books.total.calls == len(server.log)
    assert (books.total.tokens_in, books.total.tokens_out) == server.tokens


def test_a_run_that_is_interrupted_and_resumed_overshoots_nothing(server, monkeypatch):
    """Cancelled with 16 requests in flight and resumed from the books: one limit for both."""
    monkeypatch.setattr(server, "delay", 0.05)
    limit, script, books = 4.0, failing_script(3), UsageBooks()

    async def interrupted():
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def cut_short(request):
            if request.number == 25:
                loop.call_soon_threadsafe(task.cancel)
            return script(request)

        server.play(cut_short)
        first = Budget(max_usd=limit)
        agents = agents_of(server, first, books, 3, ("anthropic", "chat"))
        try:
            await propose_all(agents, books, range(100))
        except asyncio.CancelledError:
            return first

    first = asyncio.run(interrupted())
    interrupted_usage = books.total
    assert _served_usd(server) < interrupted_usage.usd
    assert interrupted_usage.usd == pytest.approx(first.spent_usd, abs=1e-5)

    before = list(server.log)
    server.play(script).log[:] = before
    second = Budget(max_usd=limit, spent=interrupted_usage)
    agents = agents_of(server, second, books, 4, ("anthropic", "chat"))
    outcomes = asyncio.run(propose_all(agents, books, range(100, 200)))
    assert any(isinstance(one, BudgetError) for one in outcomes)
    assert any(isinstance(one, Proposal) for one in outcomes)
    assert _served_usd(server) < second.spent_usd <= limit


def test_sixteen_calls_at_once_keep_a_limit_in_tokens(server, monkeypatch):
    """Tokens are held at their worst like dollars; the server counts no more than the limit."""
    monkeypatch.setattr(server, "delay", 0.05)
    server.play(lambda _request: GOOD)
    limit, books = 60_000, UsageBooks()
    budget = Budget(max_tokens=limit)
    agents = agents_of(server, budget, books, 5, ("anthropic", "chat"))
    outcomes = asyncio.run(propose_all(agents, books, range(100)))
    refused = [one for one in outcomes if isinstance(one, BudgetError)]
    assert {one.limit for one in refused} == {"tokens"}
    assert sum(server.tokens) == budget.spent_tokens <= limit
    assert limit - budget.spent_tokens < max_tokens_of(render(numbered_brief(100)), ()) + 8192


def test_what_a_probe_cost_is_reported_once(server):
    """By the first call that is made after it, whatever has had no room in the budget before."""
    server.play([GOOD, GOOD])
    budget = Budget()
    agent = make_model_agent(server, "anthropic", budget)

    async def main():
        async with contextlib.aclosing(ClosingAgents(agent)):
            await agent.probe()
            budget.set_limits(budget.spent_usd, None)
            refused = await outcome_of(agent, numbered_brief(1))
            with pytest.raises(BudgetError):
                await agent.summarise(numbered_brief(1), "nothing yet")
            budget.set_limits(None, None)
            briefs = (numbered_brief(2), numbered_brief(3))
            return refused, await asyncio.gather(*(agent.propose(brief) for brief in briefs))

    refused, made = asyncio.run(main())
    assert isinstance(refused, BudgetError)
    assert sorted(one.usage.calls for one in made) == [1, 2]
    assert budget.spent_usd == pytest.approx(sum(one.usage.usd for one in made), abs=1e-8)
