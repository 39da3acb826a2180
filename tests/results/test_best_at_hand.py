"""The choice of what is merged or promoted: never worse than a head, and with its own gain."""

import dataclasses

import pytest

from islands.migration import NO_MIGRATION
from islands.ratchet.lfsr import LfsrRule
from islands.ratchet.policy import RatchetPolicy
from islands.records import Gain
from islands.stacking.state import StackPolicy
from swarm.results.selection import best_island, next_promotion, select, total_gain
from swarm.simulation.mixtures import MIXTURES
from swarm.simulation.simulated_run import RunPlan, simulate_run
from swarm.simulation.world import Conditions


@pytest.fixture(scope="module")
def state():
    """Return the state of a simulated run whose last stack check is judged."""
    plan = RunPlan(
        RatchetPolicy(LfsrRule()),
        islands=2,
        trials=90,
        stacking=StackPolicy(every=2, share=0.5),
        migration=NO_MIGRATION,
    )
    run = simulate_run(Conditions(MIXTURES["published"], sigma=0.5), plan, 1)
    assert run.state.promotions.checked_stack is not None
    return run.state


@pytest.fixture
def judged(state):
    """Return a function that says what the last check found; the state is restored afterwards."""
    before = state.promotions.checked_stack

    def judge(whole, stays):
        ended = dataclasses.replace(
            before[0],
            verdict="antagonistic",
            observed=Gain(whole, 0.001, 4),
            gain=Gain(stays, 0.001, 4),
        )
        state.promotions.checked_stack = (ended, before[1])
        return ended

    yield judge
    state.promotions.checked_stack = before


def test_a_stack_that_is_worse_than_a_head_is_neither_merged_nor_promoted(state, judged):
    """An antagonistic check kept less than the best head has: the head is taken."""
    best = total_gain(state, best_island(state, ""))
    judged(whole=-best.mean, stays=best.mean / 4)
    plan = select(state, "", force=True)
    assert (plan.head, plan.gain) == (best_island(state, "").head, best)
    assert next_promotion(state).commit == plan.head


def test_a_plan_states_the_gain_of_the_commit_it_names(state, judged):
    """The gain of all parts, dropped ones included, is never stated for the stack that is left."""
    best = total_gain(state, best_island(state, ""))
    ended = judged(whole=-1.0, stays=2 * best.mean)
    plan = select(state, "", force=True)
    assert (plan.head, plan.parts, plan.gain) == (ended.commit, ended.parts, ended.gain)
    assert next_promotion(state).before == ended.gain


@pytest.mark.parametrize(
    ("whole", "gain", "dropped"),
    [(1.0, Gain(-0.001, 9.0, 4), ()), (1.0, Gain(0.0, 9.0, 4), (2,)), (9.0, None, (2,))],
)
def test_a_stack_without_a_gain_of_its_own_is_no_choice(state, judged, whole, gain, dropped):
    """However noisy it is; and what all parts gained says nothing about those that stay."""
    judged(whole, 0.0)
    ended, base = state.promotions.checked_stack
    left = dataclasses.replace(ended, gain=gain, dropped=dropped)
    state.promotions.checked_stack = (left, base)
    assert select(state, "", force=True).head == best_island(state, "").head
    assert next_promotion(state).commit == best_island(state, "").head
