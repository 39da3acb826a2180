"""Moves of a slice's level: what surprises is compared with the head as it scores now."""

import random

import pytest

from islands import events as ev
from islands.drift.level_moves import MOVED_SDS, RESTLESS_TRIALS, UNSTEADY_TRIALS, LevelMoves
from islands.drift.sentinels import Sentinels
from islands.ratchet.policy import RatchetPolicy
from swarm.simulation.disturbances import Load
from swarm.simulation.metrics import tally
from swarm.simulation.mixtures import MIXTURES
from swarm.simulation.simulated_run import RunPlan, simulate_run
from swarm.simulation.world import Conditions

PLAN = RunPlan(RatchetPolicy(sentinel_every=40), islands=1, trials=100)


def simulated(pattern, size, seed, mixture="published"):
    """Return one night in which others use the machine."""
    return simulate_run(Conditions(MIXTURES[mixture], load=Load(pattern, size)), PLAN, seed)


def test_screens_that_lose_too_much_in_a_row_are_strange():
    """Two that hardly ever happen are, or many odd ones; what follows belief is not."""
    moves, draw = LevelMoves(), random.Random(2).random
    assert sum(moves.strange("s0", draw()) for _ in range(300)) == 0
    assert [moves.strange("s1", 1e-6) for _ in range(2)] == [False, True]
    assert [moves.strange("s2", 0.02) for _ in range(3)] == [False, False, True]
    assert not any(moves.strange("s3", 1 - 1e-9) for _ in range(9))


def test_where_a_level_moved_one_screen_to_either_side_is_strange():
    """Until it has not moved for long."""
    moves = LevelMoves()
    moves.repeated("s0", -10.0, 1.0)
    assert moves.strange("s0", 1 - 1e-9)
    for _ in range(RESTLESS_TRIALS):
        moves.trial_ended("s0")
    moves.repeated("s0", 0.0, 1.0)
    assert not moves.restless("s0")
    assert not moves.strange("s0", 1 - 1e-9)


def test_heads_that_run_again_for_nothing_are_few():
    """Where each screen loses more than belief can tell, but the level never moves."""
    moves, repeats = LevelMoves(), 0
    for _ in range(100):
        moves.trial_ended("s0")
        if moves.strange("s0", 1e-9):
            repeats += 1
            moves.repeated("s0", 0.0, 1.0)
    assert repeats == 3


def test_heads_that_run_again_are_few_where_sentinels_stay_strange(monkeypatch):
    """As a sentinel off its level may not be repeated at once, its slice can stay so for long."""
    monkeypatch.setattr(Sentinels, "suspicious", lambda sentinels, name: True)
    run = simulate_run(Conditions(MIXTURES["null"]), PLAN, 3)
    heads = [
        event
        for event in run.events
        if isinstance(event, ev.TrialStarted) and event.purpose == "sentinel" and event.experiment
    ]
    assert 1 <= len(heads) <= 4


def test_a_slice_is_unsteady_for_some_trials_after_a_move():
    """By how much a score may be off then is what heads differed by of late."""
    moves = LevelMoves()
    assert not moves.repeated("s0", 0.9 * MOVED_SDS, 1.0)
    assert moves.steady("s0")
    assert moves.repeated("s0", -10.0, 1.0)
    assert (moves.steady("s0"), moves.steady("s1")) == (False, True)
    assert moves.doubt("s0") == pytest.approx((10 + 0.9 * MOVED_SDS) / 2)
    for _ in range(UNSTEADY_TRIALS):
        moves.trial_ended("s0")
    assert moves.steady("s0")
    assert moves.doubt("s0") == 0.0


def test_claims_hold_under_load_that_comes_and_goes():
    """In a few nights; tests/benchmarks/bench_promise.py has many."""
    nights = [tally(simulated("square", 10.0, seed)) for seed in range(10)]
    assert sum(night.claims for night in nights) > 3
    assert sum(night.false_claims for night in nights) <= 1
