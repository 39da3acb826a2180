"""Briefs show nothing of checks, of splits other than dev, or of how invalidity is detected."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.contract import Failure, Outcome
from islands import events as ev
from islands.quarantine import REASON
from islands.records import Entry
from islands.state.run_state import State
from swarm.coordinator.brief import Briefer, digest
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_islands
from swarm.simulation.virtual_time import run_virtual
from tests.support.histories import lived
from tests.support.laboratory import LabAgent, LabExecutor, MemoryBranches, make_run

MARK = "0.123456789"

PURPOSES = st.sampled_from(["sentinel", "promotion"])  # other purposes need an open check
FAILURES = st.builds(Failure, st.sampled_from(["timeout", "crash", "memory"]), st.just(MARK))
OUTCOMES = st.one_of(
    st.builds(Outcome, st.just("x"), st.just("lab"), st.just("namespaces"), score=st.floats(-9, 9)),
    st.builds(Outcome, st.just("x"), st.just("lab"), st.just("namespaces"), failure=FAILURES),
)


@pytest.fixture(scope="module")
def past(tmp_path_factory):
    """The events of a run in which something was kept, and its commits."""
    history, state = lived(tmp_path_factory.mktemp("past"), 60)
    assert any(island.kept for island in state.islands.values())
    admitted = [e.commit for e in history if isinstance(e, ev.CandidateAdmitted)]
    return history, ["base", *admitted]


def briefs(history):
    """Return the next brief of each island."""
    state = State()
    state.apply_all(history)
    briefer = Briefer(lambda commit: {"x.py": Entry(commit.encode())}, "Lower the loss.")
    return [briefer.brief(state, name, 999) for name in state.islands]


@settings(max_examples=20)
@given(data=st.data())
def test_trials_of_checks_and_of_other_splits_change_no_brief(past, data):
    """Their scores, failures and logs are not shown."""
    history, commits = past
    more = []
    for number in range(data.draw(st.integers(1, 4))):
        purpose = data.draw(PURPOSES)
        split = data.draw(st.sampled_from(["dev", "hidden", "sealed"]))
        commit, seed = data.draw(st.sampled_from(commits)), data.draw(st.integers(0, 99))
        outcome = dataclasses.replace(data.draw(OUTCOMES), split=split, tail=MARK, peak_mib=1e9)
        name, island = f"x{number}", data.draw(st.sampled_from(["i0", "i1"]))
        start = ev.TrialStarted(name, 0, island, commit, purpose, seed, 1, "s0", split, 1)
        more += [start, ev.TrialEnded(start, dataclasses.replace(outcome, trial=name))]
    shown = briefs([*history, *more])
    assert shown == briefs(history)
    assert MARK not in repr(shown)


@pytest.mark.parametrize("split", ["hidden", "sealed"])
def test_an_islands_own_trials_are_of_the_dev_split(past, split):
    """A baseline trial of another split changes no brief."""
    history, _ = past
    own = ev.TrialStarted("x", 0, "i0", "base", "baseline", 1, 0, "s0", split)
    outcome = Outcome("x", "lab", "namespaces", score=0.123456789, split=split)
    assert briefs([*history, own, ev.TrialEnded(own, outcome)]) == briefs(history)


@pytest.mark.parametrize(
    ("told", "shown"), [("", REASON), ("solve must sort", "invalid: solve must sort")]
)
def test_an_agent_is_shown_of_an_invalid_trial_what_it_may_be_told(tmp_path, told, shown):
    """The ledger has the reason; the agent is not shown how the trial was detected."""
    branches = MemoryBranches()
    failed = Failure("invalid", "3 of 512 audited forecasts change", told)
    executor = LabExecutor(branches, faults={5: failed})

    async def main():
        agents = {"i0": LabAgent()}
        limits = RunLimits(trials=12)
        run = make_run(
            tmp_path,
            branches=branches,
            executor=executor,
            agents=agents,
            islands=1,
            limits=limits,
        )
        await run_islands(run)
        return run

    run = run_virtual(main())
    first = run.state.islands["i0"].recent_attempts[0]
    assert (first.ending, first.reason) == ("failed", shown)
    assert run.agents["i0"].learned[0] == first
    ended = [e.outcome.failure for e in run.ledger.kept if isinstance(e, ev.TrialEnded)]
    assert failed in ended


def test_a_proposal_is_recorded_with_the_digest_of_its_brief(tmp_path):
    """Each brief that the agent was handed has its own; a null proposal has none."""
    asked = []

    class Reader(LabAgent):
        async def propose(self, brief):
            asked.append(brief)
            return await super().propose(brief)

    async def main():
        limits = RunLimits(trials=12)
        run = make_run(tmp_path, agents={"i0": Reader()}, islands=1, limits=limits)
        await run_islands(run)
        return run

    events = [e for e in run_virtual(main()).ledger.kept if isinstance(e, ev.ProposalReceived)]
    by_number = {brief.experiment: digest(brief) for brief in asked}
    assert events
    assert [e.brief for e in events] == [by_number.get(e.experiment, "") for e in events]
    assert len(set(by_number.values())) == len(by_number)
    assert all(len(name) == 12 and int(name, 16) >= 0 for name in by_number.values())
