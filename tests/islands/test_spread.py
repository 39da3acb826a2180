"""The spread of scores, of which a few may be far off, and what a run makes of it."""

import random
from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from islands import events as ev
from islands.drift.sentinels import Sentinels
from islands.ratchet.learnt_prior import Earned
from islands.ratchet.noise import Noise, spread
from islands.ratchet.screening import ScreenedGains
from islands.ratchet.spread import contrasts, doubtful, far_limit, odd_ones, pooled
from islands.state.scores import Scores
from tests.support.laboratory import opening

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=12)


@given(VALUES)
def test_contrasts_squared_add_up_to_the_usual_sum_of_squares(values):
    """One less than there are values."""
    found = contrasts(values)
    assert len(found) == len(values) - 1
    assert sum(one**2 for one in found) == pytest.approx(
        spread(values) ** 2 * len(found), rel=1e-6, abs=1e-6
    )


@pytest.mark.parametrize("groups", [4, 20, 60])
def test_without_far_off_scores_the_spread_is_the_usual_one(groups):
    """In nearly all runs, to the last digit: one in a hundred normal scores at most is left out."""
    rng, left_out, ratios = random.Random(groups), 0, []
    for _ in range(200):
        found = [one for _ in range(groups) for one in contrasts([rng.gauss(0, 1) for _ in "abc"])]
        result = pooled(found)
        left_out += result.far_off
        ratios.append(result.squares / result.freedom)
    assert left_out <= 0.01 * 200 * groups * 2
    assert fmean(ratios) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("size", [15.0, 60.0, -1000.0])
def test_one_score_in_twenty_far_off_ruins_nothing(size):
    """All are left out and counted."""
    rng = random.Random(3)
    groups = [[rng.gauss(0, 1) + size * (n % 20 == 0) for n in range(k, k + 4)] for k in range(80)]
    result = pooled(one for group in groups for one in contrasts(group))
    assert (result.squares / result.freedom) ** 0.5 == pytest.approx(1.0, rel=0.15)
    assert result.far_off >= sum(any(abs(x) > 8 for x in group) for group in groups)


def test_what_repeats_exactly_says_nothing_of_what_varies():
    """Zeros count only where there is nothing else."""
    assert pooled([0.0] * 9).freedom == 9
    assert pooled([0.0] * 9 + [1.0, -1.0]) == pooled([1.0, -1.0])
    assert pooled([]).freedom == 0


def test_of_two_that_differ_by_much_either_may_be_far_off():
    """Of three the one without company is."""
    assert odd_ones([0.0, 60.0], 1.0, 20) == [0, 1]
    assert odd_ones([0.0, 60.0, 1.0], 1.0, 20) == [1]
    assert odd_ones([0.0, 5.0, 1.0], 1.0, 20) == odd_ones([9.0], 1.0, 20) == []
    assert odd_ones([0.0, 60.0, 1.0], 1.0, 0) == odd_ones([0.0, 60.0, 1.0], 0.0, 9) == []
    assert far_limit(1) > far_limit(3) > far_limit(50)


def test_far_off_scores_seen_are_expected_again():
    """One in a hundred before any."""
    assert Noise(0.1, 4).tails == pytest.approx(0.01, rel=0.1)
    assert Noise(0.1, 4, 1.0, 100, far_off=5).tails == pytest.approx(0.035, rel=0.1)


def scored(scores, seed, score):
    """Let the base have a score."""
    scores.add(ev.TrialStarted("t", 0, "i", "base", "baseline", seed, 0, "s0"), score)


def base_of(*values):
    """Return the scores of a run whose base scored these `values` on the baseline seeds."""
    scores = Scores(Sentinels())
    scores.open(opening())
    for seed, score in zip(scores.baseline_seeds(), values, strict=True):
        scored(scores, seed, score)
    return scores


def test_a_far_off_baseline_score_is_told_by_another_seed():
    """Of four alone nobody can tell; a speed in milliseconds on a busy machine, as it was seen."""
    scores = base_of(0.6166, 0.6166, 4.6807, 0.6174)
    assert scores.noise().sigma > 2.0
    (fifth,) = scores.baseline_seeds()[4:]
    scored(scores, fifth, 0.6170)
    noise = scores.noise()
    assert (noise.sigma < 0.001, noise.far_off) == (True, 1)
    assert scores.mean("base") == pytest.approx(0.617, abs=0.001)
    assert len(scores.baseline_seeds()) == 5


def test_no_more_baseline_seeds_than_are_needed():
    """Where the scores are alike, and where they never are."""
    for values, most in (([0.61, 0.60, 0.63, 0.62], 4), ([1.0] * 4, 4), ([1.0, 1.0, 9.0, 1.1], 8)):
        scores = Scores(Sentinels())
        scores.open(opening())
        for n in range(12):
            if n < len(scores.baseline_seeds()):
                wild = values[n] if n < len(values) else 40.0 * 10.0**n
                scored(scores, scores.baseline_seeds()[n], wild)
        assert len(scores.baseline_seeds()) <= most
    assert not doubtful([1.0, 2.0])


def test_a_base_whose_scores_in_pairs_are_many_shows_a_far_off_baseline_score():
    """Where no other baseline seed told."""
    scores = base_of(0.6166, 0.6166, 4.6807, 0.6174)
    for seed, score in enumerate([0.67, 0.625, 0.70, 0.625, 0.66]):
        scored(scores, seed, score)
    assert scores.noise().sigma < 0.05


def test_pairs_of_a_large_gain_say_nothing_of_how_noisy_small_gains_are():
    """As in a run of `gpt`: what is claimed is judged by all pairs, which vary by more."""
    scores = base_of(1.61, 1.605, 1.613, 1.618)
    before, small = scores.noise(), scores.noise_of_small()
    scores.learn_pairs([0.0675, 0.1139, 0.0723, 0.0707, 0.0542])
    assert (scores.noise().pair > before.pair, scores.noise_of_small()) == (True, small)
    scores.learn_pairs([0.0127, 0.0025])
    assert scores.noise_of_small().known_by == before.known_by + 1
    assert scores.noise_of_small().pair < before.pair < scores.noise().pair


def test_half_of_the_baselines_variance_is_expected_to_be_shared_by_pairs():
    """Where trials are spent; a claim rests on all of it until pairs say less."""
    scores = base_of(1.61, 1.605, 1.613, 1.618)
    assert scores.noise_of_small().pair == pytest.approx(scores.noise().pair / 2**0.5)
    assert scores.noise_of_small().known_by == scores.noise().known_by


def test_small_gains_that_vary_more_than_large_ones_are_as_noisy_as_all():
    """What is spent rests on no less than what is claimed does."""
    scores = base_of(1.61, 1.605, 1.613, 1.618)
    for _ in range(9):
        scores.learn_pairs([0.0700, 0.0702, 0.0701, 0.0699])
    scores.learn_pairs([0.03, -0.03, 0.03])
    assert scores.noise_of_small() == scores.noise()


def test_trials_are_spent_by_the_noise_of_small_gains_and_claims_judged_by_that_of_all():
    """The bar and the rate fall to what less noise says; nothing that an lfsr comes from moves."""
    screens, noise = ScreenedGains(), Noise(0.01, 4)
    for number in range(40):
        screens.add(number, random.Random(number).gauss(-0.005, 0.01))
    one = screens.prior(noise, Earned())
    less = screens.prior(noise, Earned(), replace(noise, residual=0.0, freedom=20))
    assert less.bar < 0.8 * one.bar
    assert (less.prior == one.prior).all()
    assert (less.unit, less.screen_noise) == (one.unit, one.screen_noise)
