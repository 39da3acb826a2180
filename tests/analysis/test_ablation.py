"""Ablation: worths in place against the truth of simulated runs, interactions, Shapley shares."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.questions.ablation import AblationFold, ablate
from analysis.questions.shapley import MAX_EXACT, shares
from harness.contract import SetupError
from islands import events as ev
from islands.migration import NO_MIGRATION
from islands.ratchet.lfsr import LfsrRule
from islands.ratchet.policy import RatchetPolicy
from islands.stacking.state import StackPolicy
from swarm.simulation.mixtures import MIXTURES
from swarm.simulation.simulated_run import RunPlan, simulate_run
from swarm.simulation.world import INTERACTIONS, Conditions

PLAN = RunPlan(
    RatchetPolicy(LfsrRule()),
    islands=4,
    trials=200,
    stacking=StackPolicy(every=4, share=0.4),
    migration=NO_MIGRATION,
)


def simulated(interactions, seed):
    """Return a run whose stack checks have a known truth, and its last check's end."""
    conditions = Conditions(
        MIXTURES["published"], sigma=0.7, interactions=INTERACTIONS[interactions]
    )
    run = simulate_run(conditions, PLAN, seed)
    return run, [event for event in run.events if isinstance(event, ev.StackCheckEnded)][-1]


def misses(run, found):
    """Return how many standard errors each part's worth is off the truth."""
    stack, off = set(run.branches.changes(found.commit)), []
    verdicts = [e for e in run.events if isinstance(e, ev.VerdictReached)]
    for part in found.parts:
        (kept,) = [v for v in verdicts if v.experiment == part.experiment]
        own = set(run.branches.changes(kept.commit)) - set(run.branches.changes(kept.parent))
        truth = run.world.gain(sorted(stack - own), sorted(stack))
        off.append((part.worth.mean - truth) / part.worth.noise)
    return off


@pytest.fixture(scope="module")
def checked():
    """Return a simulated run without interactions, and the end of its last stack check."""
    return simulated("none", 3)


def test_worths_come_from_the_check_that_tried_the_parts_together(checked):
    """Each part has a measured worth near the truth, and the shares add up to the whole."""
    run, ended = checked
    found = ablate(run.events, ended.commit)
    assert found.check == ended.number
    assert {part.experiment for part in found.parts} == set(ended.parts)
    assert {part.basis for part in found.parts} == {"measured"}
    assert all(abs(miss) < 4 for miss in misses(run, found))
    assert math.isclose(sum(part.shapley for part in found.parts), found.whole.mean, rel_tol=1e-6)
    assert list(found.parts) == sorted(found.parts, key=lambda part: -part.worth.mean)


def test_a_head_that_no_check_tried_is_estimated_and_says_so(checked):
    """Before the first check ends there are only the gains that changes were kept for."""
    run, _ = checked
    first = next(i for i, e in enumerate(run.events) if isinstance(e, ev.StackCheckEnded))
    verdicts = [e for e in run.events[:first] if isinstance(e, ev.VerdictReached)]
    kept = [v for v in verdicts if v.verdict == "keep" and not v.null]
    found = ablate(run.events[:first], kept[-1].commit)
    assert found.check == 0
    assert found.parts
    assert all((p.basis, p.worth) == ("estimated", p.claimed) for p in found.parts)


def test_what_cannot_be_ablated_is_refused_in_one_line(checked):
    """A commit of another run, an ambiguous one, and a consensus that is not there yet."""
    run, _ = checked
    fold = AblationFold()
    for event in itertools.takewhile(lambda e: not isinstance(e, ev.ConsensusMoved), run.events):
        fold.take(event)
    for target, words in (("consensus", "no consensus yet"), ("zzzz", "no head or stack")):
        with pytest.raises(SetupError, match=words):
            fold.resolve(target)
    first = next(e for e in run.events if isinstance(e, ev.StackCheckEnded))
    assert fold.resolve(first.commit) == first.commit


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["none", "sparse", "strong"])
def test_intervals_cover_the_truth(kind, capsys):
    """Over 200 runs, 95 % intervals cover the truth of at least 92 of 100 changes."""
    off = []
    for seed in range(200):
        run, ended = simulated(kind, seed)
        off += misses(run, ablate(run.events, ended.commit))
    covered = sum(abs(miss) <= 1.96 for miss in off) / len(off)
    with capsys.disabled():
        print(f"\n{kind}: {covered:.1%} of {len(off)} intervals cover the truth")
    assert covered >= 0.92


@given(st.dictionaries(st.frozensets(st.integers(1, 5)), st.floats(-9, 9), max_size=32))
def test_shares_add_up_and_equal_players_get_equal_shares(values):
    """The shares of any game add up to its worth; players without effect get nothing."""

    def worth(parts):
        return values.get(parts - {6}, 0.0) if parts - {6} else 0.0

    found = shares([1, 2, 3, 4, 5, 6], worth)
    assert math.isclose(sum(found.values()), worth(frozenset(range(1, 7))), abs_tol=1e-9)
    assert math.isclose(found[6], 0.0, abs_tol=1e-9)


def test_many_players_are_sampled_and_still_add_up():
    """Above the exact limit, additive players get exactly their own worth."""
    own = {player: player / 7 for player in range(MAX_EXACT + 3)}
    pair = 5.0

    def worth(parts):
        return sum(own[player] for player in parts) + pair * ({0, 1} <= parts)

    found = shares(sorted(own), worth)
    assert math.isclose(sum(found.values()), worth(frozenset(own)))
    for player in itertools.islice(own, 2, None):
        assert math.isclose(found[player], own[player])
    assert math.isclose(found[0], pair / 2, rel_tol=0.2)
