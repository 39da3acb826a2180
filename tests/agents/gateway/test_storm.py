"""200 proposals of external agents at once, against a provider and clients that fail in every way.

The books are compared with the provider's own log.
"""

import asyncio
import contextlib
import dataclasses
import random
from collections import Counter

import httpx2
import pytest

from islands.records import Usage
from swarm.agents.base import AgentError
from swarm.agents.llm.budget import Budget, BudgetError
from swarm.agents.llm.settings import Tokens
from tests.agents.llm.test_concurrency import numbered_brief
from tests.support.doors import APIS, PATHS, body_of, client_of, gateway_of, settings_of
from tests.support.language_models import PRICE, make_model_agent, outcome_of
from tests.support.loopback import Cut, Garbage, Say, Status


def stormy(seed):
    """Return a script in which a third of the calls fail.

    What becomes of a call depends on its text and on how often that came, never on its turn among
    those of others: that differs with the load.
    """
    came = Counter()

    def script(request):
        text = request.turns[-1][1] if request.turns else ""
        draw = random.Random(f"{seed}/{text}/{came[text]}")
        came[text] += 1
        roll = draw.random()
        if roll < 0.06:
            return Status(429, {"retry-after-ms": "2"})
        if roll < 0.12:
            return Status(500)
        if roll < 0.18:
            return Status(529)
        if roll < 0.24:
            return Cut("x" * draw.randrange(40), after=draw.randrange(6))
        if roll < 0.27:
            return Garbage()
        text = "a change " * draw.randrange(1, 30)
        return Say(text, cached=draw.randrange(9), wrote=draw.randrange(9))

    return script


class Client:
    """A coding agent: a few calls one after the other, tried again where they fail, or a kill."""

    def __init__(self, number, api):
        self.number, self.api = number, api
        self.draw = random.Random(number)
        self.killed = self.draw.random() < 0.15

    async def work(self, lease):
        """Make two turns' calls; one that is killed closes its connection in the middle."""
        async with client_of(lease) as http:
            for turn in range(2):
                if not await self._turn(http, turn):
                    return

    async def _turn(self, http, turn):
        """Make one call, three times at most; return whether it brought an answer."""
        text = f"proposal {self.number}, turn {turn}"
        body = body_of(self.api, stream=self.draw.random() < 0.7, text=text)
        for _ in range(3):
            with contextlib.suppress(httpx2.HTTPError):
                if self.killed and self.draw.random() < 0.6:
                    async with http.stream("POST", PATHS[self.api], json=body) as answer:
                        async for _ in answer.aiter_raw():
                            raise _KilledError
                hasty = self.killed and self.draw.random() < 0.5
                given_up = 0.05 if hasty else 60  # seconds
                answer = await http.post(PATHS[self.api], json=body, timeout=given_up)
                if answer.status_code == 200:
                    return True
                if answer.status_code == 402:
                    return False
        return False


class _KilledError(Exception):
    """The client dies: its connection is closed, its answer unread."""


class Books:
    """Each proposal's usage as a coordinator would have recorded it, at any moment."""

    def __init__(self):
        self.usages = {}

    def note(self, number):
        """Return what records the usage of proposal `number`."""
        return lambda usage: self.usages.__setitem__(number, usage)

    @property
    def total(self):
        """The sum of all; safe to read from other threads."""
        usages = list(self.usages.values())
        return Usage(*(sum(getattr(u, f.name) for u in usages) for f in dataclasses.fields(Usage)))


async def propose_all(server, gateway, books, numbers):
    """Make these proposals at the same time; return the leases, closed."""
    leases = []

    async def propose(number):
        api = APIS[number % 3]
        lease = await gateway.open(
            "m", settings_of(server, api), on_usage=books.note(number), experiment=number + 1
        )
        leases.append(lease)
        with contextlib.suppress(_KilledError):
            await Client(number, api).work(lease)
        await lease.close()
        books.usages[number] = lease.usage

    await asyncio.gather(*(propose(number) for number in numbers))
    return leases


def usd_of(served):
    """Return what the provider bills for one line of its log."""
    said = isinstance(served.step, Say)
    read, wrote = (served.step.cached, served.step.wrote) if said else (0, 0)
    tokens = Tokens(served.tokens_in - read - wrote, served.tokens_out, read, wrote)
    return PRICE.usd(tokens)


def test_in_a_storm_the_books_equal_the_providers_log(server):
    """Each call is counted once and to the token, those of killed clients included."""
    server.play(stormy(1)).gather = 16
    budget, books, calls = Budget(), Books(), []

    async def main():
        async with gateway_of(budget, calls.append, 1) as gateway:
            gateway.settle_s = 60.0  # every answer that is under way arrives
            return await propose_all(server, gateway, books, range(200))

    leases = asyncio.run(main())
    assert server.max_concurrent == 16
    told = [one for one in server.log if one.reported]
    begun = [  # streams whose beginning told the input
        one
        for one in server.log
        if isinstance(one.step, Cut)
        and one.request.api == "messages"
        and one.request.body["stream"]
        and one.step.after
        and not one.reported
    ]
    assert len(told) > 250
    assert len(begun) > 3  # 5 are calls of clients that are not killed, whatever the load
    assert sum(isinstance(one.step, Cut) for one in told) > 5  # of 12 likewise
    total = books.total
    assert total.calls == len(server.log) == len(calls)
    assert total.tokens_in == sum(one.tokens_in for one in told + begun)
    assert total.tokens_out == sum(one.tokens_out for one in told)
    exact = [call for call in calls if not call.tokens_untold]
    assert sum(call.usd for call in exact) == pytest.approx(sum(map(usd_of, told)), abs=1e-9)
    assert sum(call.usd for call in calls) == pytest.approx(total.usd, abs=1e-9)
    assert budget.spent_usd == pytest.approx(total.usd, abs=1e-6)
    assert budget.spent_tokens == total.tokens
    untold = [one for one in server.log if not one.reported]
    assert len(untold) == len(calls) - len(exact)
    assert sum(map(usd_of, server.log)) < total.usd
    assert sum(one.usage.calls for one in leases) == total.calls
    for number, usage in books.usages.items():
        mine = [call for call in calls if call.experiment == number + 1]
        assert sum(call.tokens_in for call in mine) == usage.tokens_in
        assert sum(call.usd for call in mine) == pytest.approx(usage.usd, abs=1e-9)


def test_both_doors_together_never_exceed_max_usd(server):
    """Our own agents' calls and external agents' share one limit; no request finds it exceeded.

    The provider never bills more than the books hold, so a coordinator that is killed at any moment
    resumes with every dollar counted.
    """
    limit, looks, script = 2.6, [], stormy(2)
    budget, books = Budget(max_usd=limit), Books()

    def watched(request):
        billed = sum(map(usd_of, list(server.log)))  # first: the books can only fall meanwhile
        looks.append((billed, books.total.usd))
        return script(request)

    server.play(watched).gather = 16
    refused = []

    async def own(agent, number):
        agent.on_usage = lambda brief, usage: books.usages.__setitem__(-brief.experiment, usage)
        outcome = await outcome_of(agent, numbered_brief(number))
        if isinstance(outcome, BudgetError):
            refused.append(outcome)
        else:
            books.usages[-number] = outcome.usage

    async def main():
        async with gateway_of(budget, seed=2) as gateway:
            agent = make_model_agent(server, "anthropic", budget, gateway.limiters.limiter)
            leases, *_ = await asyncio.gather(
                propose_all(server, gateway, books, range(80)),
                *(own(agent, number) for number in range(1, 31)),
            )
            await agent.close()
            return leases

    leases = asyncio.run(main())
    assert server.max_concurrent == 16
    assert len(looks) > 40
    assert all(billed <= written <= limit + 1e-9 for billed, written in looks)
    assert budget.spent_usd <= limit
    assert budget.spent_usd == pytest.approx(books.total.usd, abs=1e-6)
    assert books.total.calls == len(server.log)
    assert sum(isinstance(lease.failure, BudgetError) for lease in leases) + len(refused) > 10
    assert not any(isinstance(lease.failure, AgentError) for lease in leases if not lease.usage)
