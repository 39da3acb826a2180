"""Several agents share an island's proposals: by what they earn, and with controls among them."""

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace

import duckdb
import pytest

from analysis.database.projection import schema
from analysis.database.projection.project import project
from analysis.questions.arms import return_of_arms
from islands import events as ev
from islands.records import Entry, Proposal, Usage
from islands.state.run_state import State
from swarm.agents.base import AgentError
from swarm.agents.plain_sampling import IID, PlainSampling
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_islands
from swarm.simulation.virtual_time import run_virtual
from tests.support.laboratory import GENOME, LabAgent, make_run


@dataclass
class Steady(LabAgent):
    """Moves X by the same step every time, for so many dollars; X tells how often."""

    usd: float = 0.01

    async def propose(self, brief):
        proposal = await super().propose(brief)
        now = float(brief.genome[GENOME].split("=")[1])
        self.seen.append((now, brief))
        text = f"X = {now + self.step + brief.experiment * 1e-9!r}\n".encode()
        return Proposal(proposal.hypothesis, {GENOME: Entry(text)}, usage=Usage(1, 9, 9, self.usd))

    def __post_init__(self):
        self.seen = []


@dataclass
class Empty(LabAgent):
    """Has nothing to try."""

    async def propose(self, brief):
        raise AgentError("exhausted", "nothing left")


def night(tmp_path, members, trials=120, temperaments=()):
    """Run one island with a team; return the run."""

    async def main():
        run = make_run(
            tmp_path,
            agents={"i0": next(iter(members.values()))},
            islands=1,
            limits=RunLimits(trials=trials),
        )
        (island,) = run.launch.islands
        plan = replace(
            island, agent=next(iter(members)), team=tuple(members), temperaments=temperaments
        )
        run.launch = replace(run.launch, islands=(plan,))
        run.teams = {"i0": members}
        await run_islands(run)
        return run

    return run_virtual(main())


@contextmanager
def database(run):
    """Yield the tables of a run."""
    with duckdb.connect() as con:
        schema.create(con)
        project(con, [*run.ledger.events()])
        yield con


def shares(run):
    """Count the proposals of each agent."""
    events = run.ledger.events()
    return Counter(e.agent for e in events if isinstance(e, ev.ProposalReceived))


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """A run of two agents, of which one does harm for more money."""
    members = {"good": Steady("good", step=0.05), "bad": Steady("bad", step=-0.05, usd=0.5)}
    return night(tmp_path_factory.mktemp("uneven"), members, trials=90)


def test_the_agent_that_gains_more_for_its_cost_proposes_more(uneven):
    """The others keep being asked, and a resumed run knows what each earned."""
    run, asked = uneven, shares(uneven)
    assert asked["good"] > 3 * asked["bad"] > 0
    state = State()
    state.apply_all([*run.ledger.events()])
    assert state.arms.totals == run.state.arms.totals
    (best,) = [arm for arm, each in state.arms.totals.items() if each.kept]
    assert best == ("good", "", "i0")


def test_plain_sampling_sees_the_seed_genome_and_no_history(tmp_path):
    """Its change is applied to the head, and judged there."""
    model = Steady("good", step=0.05)
    run = night(tmp_path, {"good": model, IID: PlainSampling(model)}, trials=60)
    plain = [brief for now, brief in model.seen if brief.agent == IID]
    assert plain
    assert {brief.genome[GENOME] for brief in plain} == {"X = 0.0\n"}
    assert all(not (b.recent or b.pending or b.elsewhere) for b in plain)
    parents = {
        event.experiment: event.parent
        for event in run.ledger.events()
        if isinstance(event, ev.CandidateAdmitted)
    }
    ours = [
        event.experiment
        for event in run.ledger.events()
        if isinstance(event, ev.ProposalReceived) and event.agent == IID
    ]
    assert {parents[number] for number in ours if number in parents} - {"base"}


def test_an_agent_without_ideas_leaves_the_island_to_the_others(tmp_path):
    """The run goes on to its limit."""
    run = night(tmp_path, {"none": Empty("none"), "good": Steady("good", step=0.05)}, trials=40)
    assert run.limit == "trials"
    assert shares(run)["good"] > 5


def test_temperaments_are_arms_and_stand_in_briefs_and_events(tmp_path):
    """Each is asked for."""
    model = Steady("good", step=0.05)
    run = night(tmp_path, {"good": model}, trials=50, temperaments=("data", "schedule"))
    assert {brief.temperament for _, brief in model.seen} == {"data", "schedule"}
    assert {arm.temperament for arm in run.state.arms.totals} == {"data", "schedule"}


def test_the_record_says_what_each_arm_earned_and_whether_the_swarm_beat_each_agent(
    uneven, tmp_path
):
    """At equal cost, with intervals; a run of one agent has nothing to compare."""
    with database(uneven) as con:
        arms = return_of_arms(con)
    assert [arm.agent for arm in arms.arms] == ["good", "bad"]
    good, bad = arms.arms
    assert good.kept > 0 == bad.kept
    assert good.cost + bad.cost == pytest.approx(arms.swarm.cost)
    assert arms.swarm.gain == pytest.approx(good.gain)
    assert good.per_usd.low <= good.per_usd.value <= good.per_usd.high
    better = {one.agent: one.gain for one in arms.advantages}
    assert better["bad"].low > 0  # all that was gained
    assert better["good"].value < 0  # without the other it would have gained more for the cost
    with database(night(tmp_path, {"good": Steady("good")}, trials=20)) as con:
        assert return_of_arms(con) is None
