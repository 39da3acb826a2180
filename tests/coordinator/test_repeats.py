"""Proposals that repeat what was tried, or is being tried: answered from the record, never run."""

from dataclasses import replace

import pytest

from islands import events as ev
from islands.state.memory import CLAIMED, REPEAT
from islands.state.run_state import State
from swarm.coordinator.brief import Briefer
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_islands
from swarm.simulation.virtual_time import run_virtual
from tests.support.herding import HerdingModel, KnobBranches, KnobExecutor
from tests.support.laboratory import MemoryLedger, make_run

ISLANDS = 3


def night(tmp_path, *, remembers=True, trials=70, ledger=None, branches=None):
    """Run a night of herding models; return the run."""

    async def main():
        knobs = branches or KnobBranches()
        run = make_run(
            tmp_path,
            ledger=ledger,
            branches=knobs,
            executor=KnobExecutor(knobs),
            agents={f"i{n}": HerdingModel() for n in range(ISLANDS)},
            islands=ISLANDS,
            limits=RunLimits(trials=trials, minutes=600),
        )
        run.launch = replace(run.launch, remembers=remembers)
        await run_islands(run)
        return run

    return run_virtual(main())


def repeats(run):
    """Return how many ideas were proposed again, and how many of these reached a slice."""
    known, ideas, again, ran = set(), {}, 0, 0
    for event in run.ledger.events():
        match event:
            case ev.ProposalReceived(experiment=number, hypothesis=hypothesis):
                ideas[number] = hypothesis.partition(" ")[2]
            case ev.ProposalRefused(repeats=old) if old:
                again += 1
            case ev.TrialStarted(purpose="screen", experiment=number) if number in ideas:
                idea = ideas.pop(number)
                again += idea in known
                ran += idea in known
                known.add(idea)
    return again, ran


@pytest.fixture(scope="module")
def remembered(tmp_path_factory):
    """A night with memory and claims."""
    return night(tmp_path_factory.mktemp("remembered"))


def test_nine_in_ten_repeats_of_a_herding_model_never_reach_a_slice(remembered, tmp_path):
    """Without the memory most of its trials are repeats."""
    again, ran = repeats(remembered)
    assert again > 60
    assert ran <= 0.1 * again
    _, wasted = repeats(night(tmp_path, remembers=False))
    assert wasted > 2 * ran


def test_an_answer_names_the_experiment_and_its_rounded_figures(remembered):
    """The agent reads it in its next brief, and what other islands try now."""
    history = [*remembered.ledger.events()]
    answers = {e.experiment: e for e in history if isinstance(e, ev.ProposalRefused) if e.repeats}
    assert {answer.rule for answer in answers.values()} == {REPEAT, CLAIMED}
    ends = {e.experiment: e for e in history if isinstance(e, ev.VerdictReached)}
    refuted = [a for a in answers.values() if a.reason.endswith("refuted")]
    assert len(refuted) > 50
    steps = set()
    for answer in refuted:
        old = ends[answer.repeats]
        assert old.verdict == "discard"
        assert old.gain.mean < 0
        assert answer.reason.startswith(f"tried as #{old.experiment} on ")
        steps.add(float(answer.reason.split()[-4]))
    assert len(steps) < len({old.gain.mean for old in ends.values() if old.gain}) / 3
    shown = [a for i in remembered.state.islands.values() for a in i.recent_attempts if a.repeats]
    assert shown
    assert all(
        a.reason == f"{answers[a.experiment].rule}: {answers[a.experiment].reason}" for a in shown
    )


def test_others_claims_stand_in_the_brief(remembered):
    """With the island that holds each."""
    state, seen = State(), 0
    briefer = Briefer(remembered.branches.files, "")
    for event in remembered.ledger.events():
        state.apply(event)
        if isinstance(event, ev.CandidateAdmitted):
            brief = briefer.brief(state, "i0" if event.island != "i0" else "i1", 999)
            assert (event.experiment, event.island) in [
                (c.experiment, c.island) for c in brief.claims
            ]
            seen += 1
        if seen == 20:
            return
    raise AssertionError("too few candidates")


def test_a_resumed_run_answers_as_the_one_that_stopped(remembered, tmp_path):
    """The memory is a fold of the ledger."""
    history = [*remembered.ledger.events()]
    half = history[: len(history) // 2]
    resumed = night(tmp_path, ledger=MemoryLedger(half), branches=remembered.branches)
    again, ran = repeats(resumed)
    assert again > 60
    assert ran <= 0.1 * again
