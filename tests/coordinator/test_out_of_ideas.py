"""Agents that have nothing left to try, on virtual time: who rests, who is asked again, the end."""

import pytest

from islands import events as ev
from islands.records import Entry, Proposal
from islands.state.run_state import State
from swarm.agents.base import AgentError
from swarm.agents.mutator import Mutator
from swarm.coordinator.ideas_left import MAX_PAID_REPEATS, MAX_REPEATS
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_islands
from swarm.simulation.virtual_time import run_virtual
from tests.support.laboratory import GENOME, LabAgent, MemoryLedger, make_run, value

DONE = AgentError("exhausted", "all is tried")
ISLANDS = ("i0", "i1")


def simulate(tmp_path, **parts):
    """Return a laboratory run, executed on virtual time."""

    async def main():
        run = make_run(tmp_path, **parts)
        await run_islands(run)
        return run

    return run_virtual(main())


def failures(run, island):
    """Return the events in which an island's agent had nothing left to try."""
    return [
        event
        for event in run.ledger.kept
        if isinstance(event, ev.AgentFailed) and event.island == island
    ]


def worse(step):
    """Return a proposal that loses."""
    return Proposal("worse", {GENOME: Entry(f"X = {-step}\n".encode())})


def dry(answers):
    """Return an agent that makes so many proposals that lose, and then has nothing left."""
    script = {n: worse(n) for n in range(1, answers + 1)}
    return LabAgent(script=script | dict.fromkeys(range(answers + 1, 10_000), DONE))


class PaidAgent(LabAgent):
    """One whose calls cost something."""

    def price_line(self):
        return "dear"


def test_an_agent_that_is_paid_repeats_itself_less_often(tmp_path):
    """Three requests in a row, each with two repairs, are enough; every brief says so."""
    agents = {name: PaidAgent(script=dict.fromkeys(range(1, 10_000), worse(1))) for name in ISLANDS}
    run = simulate(tmp_path, agents=agents, limits=RunLimits(trials=400))
    assert run.limit == "ideas"
    for name, agent in agents.items():
        reason = failures(run, name)[-1].reason
        assert reason.startswith(f"its last {MAX_PAID_REPEATS} proposals repeat")
        # besides those that another island was trying just then, which do not count
        assert agent.calls < 6 * MAX_PAID_REPEATS


def test_an_agent_that_only_repeats_itself_has_run_out(tmp_path):
    """It is not paid to do so until the end: the run stops where no limit would stop it."""
    agents = {name: LabAgent(script=dict.fromkeys(range(1, 10_000), worse(1))) for name in ISLANDS}
    run = simulate(tmp_path, agents=agents, limits=RunLimits(trials=400))
    assert run.limit == "ideas"
    assert run.state.trials < 20
    for name, agent in agents.items():
        assert failures(run, name)[-1].reason.startswith(f"its last {MAX_REPEATS} proposals repeat")
        assert MAX_REPEATS <= agent.calls < 3 * MAX_REPEATS


def test_the_run_ends_when_every_agent_has_run_out(tmp_path):
    """It stops long before its limits, says why, and asked each agent once per ended experiment."""
    agents = {"i0": dry(3), "i1": dry(5)}
    run = simulate(tmp_path, agents=agents, limits=RunLimits(trials=400, minutes=600))
    stopped = run.ledger.kept[-1]
    assert (run.limit, stopped.limit) == ("ideas", "ideas")
    assert "out of ideas" in stopped.reason
    assert sum(run.state.islands["i1"].endings.values()) == 5
    for name, agent in agents.items():
        assert failures(run, name)[-1].error_kind == "exhausted"
        assert agent.calls <= 2 * 5 + 4
    assert run.ledger.kept[-1].recorded < 1_000


def test_others_go_on_and_a_keep_elsewhere_is_a_new_chance(tmp_path):
    """The island that ran out rests; it is asked again after each keep of another island."""
    agents = {"i0": dry(0), "i1": LabAgent()}
    run = simulate(tmp_path, agents=agents, limits=RunLimits(trials=200))
    assert run.limit == "trials"
    keeps = run.state.islands["i1"].endings["kept"]
    assert keeps > 2
    assert 1 <= agents["i0"].calls <= 2 * (keeps + 1)
    # a call that is under way when the trials run out has no answer
    assert agents["i0"].calls - len(failures(run, "i0")) in {0, 1}
    assert run.state.islands["i0"].agent_failures == 0


def test_a_resumed_run_asks_again(tmp_path):
    """The genome is the same, but agents may have been changed; and then it ends again."""
    first = simulate(tmp_path, agents={"i0": dry(1), "i1": dry(0)}, limits=RunLimits(trials=99))
    again = {"i0": dry(0), "i1": dry(2)}
    run = simulate(
        tmp_path,
        agents=again,
        ledger=MemoryLedger(first.ledger.kept),
        branches=first.branches,
        limits=RunLimits(trials=99),
    )
    assert run.limit == "ideas"
    assert sum(run.state.islands["i1"].endings.values()) == 2
    fresh = State()
    fresh.apply_all(run.ledger.kept)
    assert fresh.islands == run.state.islands


@pytest.mark.parametrize("islands", [2])
def test_the_mutator_runs_out_of_a_genome_of_one_number(tmp_path, islands):
    """It improves the number until no other value is left, and stops without a busy loop."""
    agents = {f"i{n}": Mutator() for n in range(islands)}
    run = simulate(tmp_path, agents=agents, islands=islands, limits=RunLimits(trials=10_000))
    assert run.limit == "ideas"
    for name, island in run.state.islands.items():
        assert value(run.branches, island.head) > 0.5
        assert len(failures(run, name)) <= run.state.experiments
