"""Agents whose provider is down, goes down, comes back, or answers with prose: on virtual time."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

import pytest

from harness.contract import SetupError
from islands import events as ev
from swarm.agents.base import AgentError
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_islands
from swarm.simulation.virtual_time import run_virtual
from tests.support.laboratory import LabAgent, make_run

HOURS = RunLimits(minutes=120)
DOWN = AgentError("network", "connection refused at http://localhost:11434/v1")
PROSE = AgentError("malformed", "no usable answer after 3 repairs")
NO_CREDIT = AgentError("unavailable", "the account is out of credit")


@dataclass
class Outage(LabAgent):
    """Raises `error` from `start` to `end`, in seconds of the run."""

    error: AgentError = DOWN
    start: float = 0.0
    end: float = float("inf")

    async def propose(self, brief):
        now = asyncio.get_running_loop().time()
        if self.start <= now < self.end:
            self.calls += 1
            await asyncio.sleep(self.think)
            raise AgentError(self.error.error_kind, str(self.error), None, self.error.retry_after)
        return await super().propose(brief)


def ended(tmp_path, limits=HOURS, **agents):
    """Return the run with these agents by island once it has ended, and why it had to."""
    run, error = None, ""

    async def main():
        nonlocal run, error
        run = make_run(tmp_path, agents=agents, islands=len(agents), limits=limits)
        try:
            await run_islands(run)
        except SetupError as raised:
            error = str(raised)

    with suppress(asyncio.CancelledError):
        run_virtual(main())
    return run, error


def end_of(run):
    """Return when the run stopped, in seconds."""
    return run.ledger.kept[-1].recorded


def failures(run):
    """Return when agents failed, in seconds."""
    return [event.recorded for event in run.ledger.kept if isinstance(event, ev.AgentFailed)]


@pytest.mark.parametrize("error", [DOWN, PROSE, AgentError("server", "HTTP 500")])
def test_an_agent_that_never_proposes_stops_the_launch_within_minutes(tmp_path, error):
    """The line says which agent, how often it failed and why; others do not hide it."""
    run, why = ended(tmp_path, i0=LabAgent(), i1=Outage("ollama", error=error))
    assert "agent 'ollama' has not made one proposal in" in why
    assert str(error) in why
    assert end_of(run) < 600
    assert run.ledger.kept[-1].reason == f"error: {why}"


def test_a_server_that_is_retried_for_minutes_is_not_waited_for_three_times(tmp_path):
    """An overloaded one is asked for five minutes before a call fails: two such are an outage."""
    slow = Outage("m", error=AgentError("server", "HTTP 503"), think=320.0)
    run, why = ended(tmp_path, i0=slow)
    assert "agent 'm' has not made one proposal in 2 tries: HTTP 503" in why
    assert end_of(run) < 720


def test_an_agent_that_goes_down_rests_and_the_others_go_on(tmp_path):
    """It is asked ever less often, and the other island uses its slice to the end."""
    down = Outage("ollama", start=600.0)
    run, why = ended(tmp_path, i0=LabAgent("other"), i1=down)
    assert (run.limit, why) == ("minutes", "")
    late = [time for time in failures(run) if time > 3600]
    assert 3 <= len(late) <= 8
    assert run.state.slice_use("i0") > 0.9
    assert "connection refused" in run.health.given_up(["ollama"])["ollama"]


def test_an_agent_that_comes_back_is_asked_at_full_pace_again(tmp_path):
    """Twenty minutes without an answer do not end a run whose only agent rests."""
    down = {"start": 600.0, "end": 1800.0}
    run, why = ended(tmp_path, i0=Outage("m", **down), i1=Outage("m", **down))
    assert (run.limit, why) == ("minutes", "")
    answers = [e.recorded for e in run.ledger.kept if isinstance(e, ev.ProposalReceived)]
    assert not [time for time in answers if 700 < time < 1800]
    assert len([time for time in answers if time > 2400]) > 50


def test_when_all_agents_rest_for_long_the_run_stops(tmp_path):
    """Nothing else is left to do, so the launch ends with a line, long before its limit."""
    run, why = ended(tmp_path, i0=Outage("a", start=600.0), i1=Outage("b", start=900.0))
    assert why.startswith("no agent answers any more: connection refused at http://localhost")
    assert 600 + 1800 < end_of(run) < 900 + 1800 + 1200


def test_an_agent_without_credit_rests_at_once_and_alone_it_ends_the_run(tmp_path):
    """The other island goes on; without one, waiting would be of no use."""
    run, why = ended(
        tmp_path / "1", i0=LabAgent("other"), i1=Outage("m", error=NO_CREDIT, start=600.0)
    )
    assert (run.limit, why) == ("minutes", "")
    assert 3 <= len(failures(run)) < 25
    run, why = ended(tmp_path / "2", i0=Outage("m", error=NO_CREDIT, start=600.0))
    assert "out of credit" in why
    assert end_of(run) < 720


def test_a_wait_that_the_provider_names_is_waited_out(tmp_path):
    """A quota that is reset in an hour does not end the run; its agent is not asked meanwhile."""
    quota = AgentError("rate", "asks for a pause", retry_after=3600.0)
    run, why = ended(tmp_path, i0=Outage("m", error=quota, start=600.0, end=4000.0))
    assert (run.limit, why) == ("minutes", "")
    assert [e for e in run.ledger.kept if isinstance(e, ev.ProposalReceived) and e.recorded > 4300]
