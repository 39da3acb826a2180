"""Stack checks: the design's arms, their costs, and the verdict on exact and noisy scores."""

import random

import numpy as np
import pytest

from islands.records import Gain
from islands.stacking.design import Arm, budget, design, hadamard
from islands.stacking.inference import Evidence, StackPart
from islands.stacking.verdict import judge, next_arm, survivors
from swarm.simulation.stack_study import StackCase, check_stack, draw, study_stacks


@pytest.mark.parametrize("least", range(2, 25))
def test_a_design_is_orthogonal_and_as_small_as_can_be(least):
    """Every two columns of a Hadamard matrix agree as often as not, up to 24 rows."""
    matrix = hadamard(least)
    assert len(matrix) == max(4, -(-least // 4) * 4)
    assert (matrix @ matrix.T == len(matrix) * np.eye(len(matrix))).all()
    assert (matrix[0] == 1).all()
    assert (matrix[:, 0] == 1).all()


@pytest.mark.parametrize("count", range(2, 21))
def test_a_design_leaves_trials_for_what_it_finds(count):
    """The design has whole and base, distinguishes all parts, and costs less than the budget."""
    numbers = [10 * number for number in range(1, count + 1)]
    arms = design(numbers)
    assert arms[0] == frozenset(numbers)
    assert arms[1] == frozenset()
    assert len(set(arms)) == len(arms) < max(budget(count), 5)
    columns = [tuple(number in arm for arm in arms) for number in numbers]
    assert len(set(columns)) == count


def exact(pairs, effects=(2.0, 3.0, 2.5, 4.0, 3.0), beside=None):
    """Return evidence without noise of parts 1 to 5 whose `pairs` interact, and what is whole."""
    worth = dict(enumerate(effects, 1))
    whole = frozenset(worth)

    def value(parts):
        extra = sum(size for pair, size in pairs.items() if parts.issuperset(pair))
        return sum(worth[number] for number in parts) + extra

    beside = beside or {}
    parts = [
        StackPart(n, Gain(value(own | {n}) - value(own), 0.5, 4), own)
        for n in worth
        for own in [frozenset(beside.get(n, ()))]
    ]
    scores = {Arm(parts): value(parts) for parts in design(list(worth))}
    evidence = Evidence(parts, scores)
    while len(scores) < budget(len(parts)):
        arm = next_arm(evidence, whole, 0)
        if arm is None:
            break
        scores[arm] = value(arm.parts)
        evidence = Evidence(parts, scores)
    return evidence, whole


@pytest.mark.parametrize(
    ("pairs", "verdict", "dropped"),
    [
        ({}, "additive", set()),
        ({(1, 2): -2.0}, "redundant", {1}),
        ({(2, 4): -7.0}, "antagonistic", {2}),
        ({(4, 5): -1.8}, "short", set()),
        ({(1, 2): 4.0}, "additive", set()),
    ],
)
def test_a_verdict_says_what_the_truth_is(pairs, verdict, dropped):
    """Without noise the verdict is exact: additive, redundant, antagonistic or short."""
    evidence, whole = exact(pairs)
    judgement = judge(evidence, whole)
    assert judgement.verdict == verdict
    assert judgement.culprits == tuple(pairs)
    assert whole - judgement.stay == dropped
    assert judgement.interaction.mean == pytest.approx(sum(pairs.values()), abs=0.6)
    assert all(
        gain.mean == pytest.approx(pairs[pair], abs=0.6)
        for pair, gain in zip(judgement.culprits, judgement.blame, strict=True)
    )


def test_what_an_island_measured_together_is_no_interaction_of_the_stack():
    """The claim of a part measured beside another includes their interaction."""
    evidence, whole = exact({(1, 2): -1.9}, beside={2: (1,)})
    judgement = judge(evidence, whole)
    assert judgement.expected.mean == pytest.approx(14.5 - 1.9)
    assert judgement.interaction.mean == pytest.approx(0.0, abs=0.6)


def test_a_claim_that_does_not_hold_is_the_culprit_alone():
    """A part that is worth nothing on the base is reported and dropped."""
    whole = frozenset({1, 2, 3, 4})
    parts = [StackPart(n, Gain(3.0, 0.4, 6, 0.02)) for n in sorted(whole)]
    arms = [*design(sorted(whole)), *(whole - {n} for n in whole)]
    scores = {Arm(arm): 3.0 * len(arm - {3}) for arm in arms}
    judgement = judge(Evidence(parts, scores), whole)
    assert judgement.verdict == "short"
    assert judgement.culprits == ((3,),)
    assert judgement.stay == {1, 2, 4}
    assert judgement.blame[0].mean < -2


def test_a_part_that_another_stands_on_goes_with_it_or_stays():
    """If 2 does not apply without 1, dropping 1 costs what 2 is worth: both stay."""
    evidence, whole = exact({}, effects=(0.0, 3.0, 2.5, 4.0, 3.0))
    assert survivors(evidence, whole) == whole - {1}

    def fit(parts):
        return parts if 1 in parts else parts - {2}

    assert survivors(evidence, whole, fit) == whole


def test_the_study_meets_its_targets_on_a_few_stacks():
    """Some stacks a kind, as `swarm simulate stacks` draws them: right, found, in budget."""
    kinds = [StackCase(5, "none"), StackCase(8, "sparse"), StackCase(8, "strong")]
    rows = study_stacks(kinds, 8, 1, 1, lambda: None)
    for row in rows:
        assert row.right.share >= 7 / 8
        assert row.trials <= row.max_trials == budget(row.case.parts)
        assert row.lost < 0.5
        if row.culprits_found.whole:
            assert row.culprits_found.share >= 0.9
    (again,) = study_stacks(kinds[:1], 8, 1, 1, lambda: None)
    assert repr(again) == repr(rows[0])  # nan is not equal to itself


def test_one_seed_gives_one_check():
    """The same evidence leads to the same arms and the same verdict."""
    case = StackCase(8, "strong")
    checks = []
    for _ in range(2):
        dice = random.Random(5)
        checks.append(check_stack(*draw(case, dice), dice))
    assert checks[0] == checks[1]
