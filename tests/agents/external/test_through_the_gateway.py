"""Coding agents reach their model through the gateway alone, which meters and bounds them."""

import asyncio

import pytest

from harness.contract import SetupError
from islands.records import Entry
from swarm.agents.base import AgentError
from swarm.agents.llm.budget import Budget, BudgetError
from tests.support.coding_agents import brief, caller, make_agent
from tests.support.doors import gateway_of, settings_of
from tests.support.loopback import KEY, Loopback, Say, Status

pytestmark = pytest.mark.sandbox

ANSWER = Say("gen/train.py|LR = 0.1|LR = 0.3")


@pytest.fixture(scope="module")
def server():
    """One scripted server for all tests."""
    with Loopback() as running:
        yield running


@pytest.fixture
def ask(server, tmp_path, monkeypatch):
    """Return a function that has the agent propose, and returns what came and was reported."""
    monkeypatch.setenv("LOOPBACK_KEY", KEY)
    for each in (tmp_path, *tmp_path.parents[:2]):
        each.chmod(0o755)

    def asked(script, *, calls=1, budget=None, probe=False, **settings):
        server.play(script)
        reports = []
        model = settings_of(server, "chat")
        command = f"{caller(tmp_path)} {calls}"

        async def main():
            async with gateway_of(budget) as gateway:
                agent = make_agent(
                    tmp_path, gateway, kind="command", command=command, model=model, **settings
                )
                agent.on_usage = lambda brief, usage: reports.append(usage)
                if probe:
                    await agent.probe()
                return await agent.propose(brief("Go."))

        try:
            return asyncio.run(main()), reports
        except (AgentError, BudgetError, SetupError) as error:
            return error, reports

    return asked


def test_its_model_answers_and_is_metered(ask, server):
    """The provider gets the real key and model; what is reported is what the server counted."""
    made, reports = ask([ANSWER, ANSWER], calls=2, probe=True)
    assert made.files == {"gen/train.py": Entry(b"LR = 0.3\nSTEPS = 3\n")}
    assert [served.request.body["model"] for served in server.log] == ["some-model"] * 2
    sent, received = server.tokens
    probed = made.usage.tokens_in - sent, made.usage.tokens_out - received
    assert probed == (10, 1)  # what the server says of a probe
    assert made.usage.calls == 3
    assert reports[-1] == made.usage


def test_it_ends_at_its_own_limits(ask, server):
    """More calls, or dollars, than one proposal may have: killed, and what it spent is counted."""
    error, _ = ask([ANSWER] * 9, calls=9, max_turns=2)
    assert "ended at `max_turns: 2`" in str(error)
    assert len(server.log) <= 3
    error, _ = ask([ANSWER] * 9, calls=9, max_usd=0.0001)
    assert "ended at `max_usd: 0.0001`" in str(error)
    assert 0 < error.usage.usd < 0.05


def test_whatever_becomes_of_a_run_its_calls_are_counted(ask, server):
    """One that left nothing to read back, too: its failure says what it cost, and the probe."""
    error, reports = ask([Say("remove")], probe=True)
    assert "removed its working folder" in str(error)
    assert error.usage == reports[-1]
    assert error.usage.calls == len(server.log) + len(server.probes[-1:]) == 2


def test_what_the_probe_cost_is_reported_once(server, tmp_path, monkeypatch):
    """With the first of two proposals made at the same time, and not lost where none has room.

    With one place they run one after the other.
    """
    monkeypatch.setenv("LOOPBACK_KEY", KEY)
    for each in (tmp_path, *tmp_path.parents[:2]):
        each.chmod(0o755)
    command, budget, held, agent = f"{caller(tmp_path)} 1", Budget(), [], None

    def script(_request):
        held.append(agent.places.locked())
        return ANSWER

    server.play(script)

    async def main():
        nonlocal agent
        async with gateway_of(budget) as gateway:
            model = settings_of(server, "chat")
            agent = make_agent(tmp_path, gateway, kind="command", command=command, model=model)
            agent.places = asyncio.Semaphore(1)
            await agent.probe()
            budget.set_limits(budget.spent_usd, None)
            with pytest.raises(BudgetError):
                await agent.propose(brief("Go."))
            budget.set_limits(None, None)
            return await asyncio.gather(*(agent.propose(brief("Go.")) for _ in range(2)))

    made = asyncio.run(main())
    assert sorted(one.usage.calls for one in made) == [1, 2]
    assert (held, server.max_concurrent) == ([True, True], 1)
    assert budget.spent_usd == pytest.approx(sum(one.usage.usd for one in made), abs=1e-8)


def test_without_budget_no_call_is_made(ask, server):
    """The launch ends by its limit, not by a failure of the agent."""
    error, _ = ask([ANSWER], budget=Budget(max_usd=0.000001))
    assert isinstance(error, BudgetError)
    assert server.log == []


def test_what_the_provider_says_is_the_reason(ask):
    """Not the agent's own words about it."""
    error, _ = ask([Status(402, message="no credit left")])
    assert error.error_kind == "unavailable"
    assert "out of credit" in str(error)


def test_a_probe_finds_what_only_the_user_can_fix(ask, server, monkeypatch):
    """Before the baseline is paid."""
    monkeypatch.setattr(server, "on_probe", Status(401, message="bad key"))
    error, _ = ask([ANSWER], probe=True)
    assert isinstance(error, SetupError)
    assert "LOOPBACK_KEY" in str(error)
