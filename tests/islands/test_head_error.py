"""Errors of heads' scores: what was screened on one seed shares the error of one score."""

from statistics import fmean

import pytest

from islands import events as ev
from islands.ratchet.noise import gain_of
from islands.ratchet.policy import RatchetPolicy
from islands.state.run_state import State
from swarm.simulation.mixtures import MIXTURES
from swarm.simulation.simulated_run import RunPlan, simulate_run
from swarm.simulation.world import Conditions

PLAN = RunPlan(RatchetPolicy(sentinel_every=0), islands=1, trials=120)


def screens(mixture, seed):
    """Yield each screen of a run: its gain over the head's score, as judged, and the true one."""
    run, state = simulate_run(Conditions(MIXTURES[mixture]), PLAN, seed), State()
    for event in run.events:
        if isinstance(event, ev.VerdictReached):
            tried = state.islands[event.island].experiment
            ((on, score),) = tried.screened.items()
            head = state.scores.now(tried.parent, on)
            raw = gain_of(head, score, "minimize")
            yield raw, tried.screen_gain, run.gain(tried.parent, tried.commit)
        state.apply(event)


@pytest.mark.parametrize("mixture", ["null", "published", "harsh"])
def test_screens_are_nearer_to_the_truth_than_the_heads_one_score_on_their_seed(mixture):
    """Half of a pair's variance is the head's; most of that can be told from the other screens."""
    found = [screen for seed in range(5) for screen in screens(mixture, seed)]
    raw = fmean((gain - truth) ** 2 for gain, _, truth in found)
    judged = fmean((gain - truth) ** 2 for _, gain, truth in found)
    assert len(found) > 250
    assert judged < 0.85 * raw


def test_screens_that_became_void_tell_nothing():
    """What is left is as if they had not run."""
    run = simulate_run(Conditions(MIXTURES["null"]), PLAN, 1)
    state = State()
    state.apply_all([*run.events])
    head, scores = run.branches.base, state.scores
    seed = scores.usable_seeds(head)[0]
    before = scores.beside(head, seed, "s0")
    first = next(
        event
        for event in run.events
        if isinstance(event, ev.TrialEnded)
        and (event.started.purpose, event.started.seed) == ("screen", seed)
    )
    void = ev.VoidedTrial(
        first.started.trial,
        first.started.island,
        first.started.experiment,
        first.started.commit,
        first.started.purpose,
        first.started.seed,
        first.started.slice,
        first.outcome.score,
    )
    scores.withdraw(void)
    assert len(before) > 10
    assert scores.beside(head, seed, "s0") == before[1:]
    assert scores.beside(head, seed, "s1") == []
