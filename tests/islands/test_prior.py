"""The prior that a run learns from its screens, and the lfsr rule that uses it."""

import random
from dataclasses import replace
from statistics import NormalDist, fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract import MAX_NUMBER
from islands.ratchet.acceptance import CandidateEvidence, KeepTally
from islands.ratchet.ladder import released, step
from islands.ratchet.learnt_noise import learnt_noise
from islands.ratchet.learnt_prior import (
    EXPECTED_TRIALS,
    MAX_WASTED_TRIALS,
    ConfirmedGain,
    Earned,
    learn,
    with_earned,
)
from islands.ratchet.lfsr import CAUTION, LfsrRule
from islands.ratchet.noise import Noise
from islands.ratchet.prior import CONFIRM_TRIALS, GRID, MAX_GAIN, MAX_HEAD_ERROR, prior_of_migrant
from islands.ratchet.screening import ScreenedGains
from islands.ratchet.spread import contrasts, pooled

RULE = LfsrRule()
NOISE = Noise(sigma=0.5**0.5, seeds=100)  # one pair varies by 1
MANY = 60


def decide(*evidence, rule=RULE):
    """Return what `rule` decides on a candidate."""
    return rule.decide(CandidateEvidence(*evidence))


def draw_gain(rng):
    """Draw a true gain: most harm, some do nothing, a few help."""
    kind = rng.random()
    return rng.gauss(-1, 1.5) if kind < 0.6 else 0.0 if kind < 0.8 else abs(rng.gauss(0, 4))


def learnt(seed, count=400):
    """Return the prior of a run that screened `count` proposals."""
    rng = random.Random(seed)
    return learn([draw_gain(rng) + rng.gauss(0, 1) for _ in range(count)], MANY)


PRIOR = learnt(3)


def judge(rng, prior, kept, gain):
    """Judge a proposal of true `gain` to its end; return the decision and the trials it took."""
    screened, pairs = gain + rng.gauss(0, 1), []
    while True:
        decision = decide(screened, pairs, NOISE, prior, kept)
        if decision.verdict != "confirm":
            return decision, 1 + 2 * len(pairs)
        pairs.append(gain + rng.gauss(0, 1))


def test_a_prior_is_a_distribution_and_its_bar_is_a_gain():
    """With no screens, with 400, and with 500 that gain nothing."""
    for prior in (learn([], 1), learnt(1), learn([0.0] * 500, MANY)):
        assert prior.prior.sum() == pytest.approx(1)
        assert (prior.prior >= 0).all()
        assert 0 < prior.bar <= MAX_GAIN


def test_it_recovers_the_share_of_gains_through_noise():
    """A fifth and a part of the first kind are above zero here: 0.2 + 0.6 * 0.25 = 0.35."""
    share = sum(float(learnt(seed).prior[GRID > 0].sum()) for seed in range(5)) / 5
    assert share == pytest.approx(0.35, abs=0.1)


def test_what_never_gains_lowers_the_rate_and_raises_the_lfsr():
    """After proposals that do nothing, the lfsr of the same gain is higher."""
    null = learn([random.Random(n).gauss(0, 1) for n in range(800)], MANY)
    assert null.rate < learnt(1).rate / 10
    assert null.weigh([1.5] * 2, MANY).lfsr > learnt(1).weigh([1.5] * 2, MANY).lfsr


def test_trials_that_brought_less_than_expected_lower_the_bar():
    """Half of the expected gain, over as many trials as the expectation counts for: three quarters.

    What the run earned beyond the expectation raises nothing: it was luck.
    """
    prior = learnt(1)
    half = Earned(prior.rate * EXPECTED_TRIALS / 2, EXPECTED_TRIALS)
    less, lucky = with_earned(prior, MANY, half), with_earned(prior, MANY, Earned(100.0, 10))
    assert less.rate == pytest.approx(0.75 * prior.rate)
    assert less.bar < prior.bar == lucky.bar
    assert (less.prior == prior.prior).all()


def test_a_run_that_earned_nothing_still_wastes_few_trials():
    """However low the rate to beat is, few trials go into what is then discarded."""
    prior = learn([random.Random(n).gauss(0, 1) for n in range(800)], MANY)
    dry = with_earned(prior, MANY, Earned(0.0, 10**6))
    assert dry.rate < 1e-3 * prior.rate
    assert dry.chance_below(dry.bar) > 1 - MAX_WASTED_TRIALS / 2


SCORES = st.floats(-MAX_NUMBER, MAX_NUMBER).map(lambda score: score if abs(score) > 1e-9 else 0.0)
"""Any that a trial may have."""


@given(
    st.lists(SCORES, min_size=2, max_size=6),
    st.lists(st.lists(SCORES, min_size=2, max_size=8), max_size=3),
    st.lists(SCORES, min_size=16, max_size=24),
)
def test_no_score_that_a_trial_may_have_stops_the_ratchet(baseline, experiments, screened):
    """A penalty of 1e100 beside scores of one: a verdict is reached, a gain rounded and shown."""
    spread = pooled(found for pairs in experiments for found in contrasts(pairs))
    noise = learnt_noise(tuple(baseline), tuple(baseline), spread, ())
    screens = ScreenedGains()
    for number, gain in enumerate(screened):
        screens.add(number, gain)
    for number, pairs in enumerate(experiments):
        screens.confirm(number, pairs)
    prior = screens.prior(noise, Earned())
    for pairs in ([], *experiments):
        decision = decide(screened[0], pairs[:8], noise, prior, KeepTally())
        if decision.gain is not None:
            released(decision.gain, step(noise)).format()


@given(st.floats(0.1, 6), st.integers(1, 8))
def test_a_gain_is_shrunk_and_more_of_it_lowers_the_lfsr(mean, pairs):
    """More evidence of a gain lowers the lfsr and raises the estimated gain."""
    prior = learnt(2)
    less, more = prior.weigh([mean] * pairs, MANY), prior.weigh([mean + 1] * pairs, MANY)
    assert more.lfsr <= less.lfsr
    assert more.gain >= less.gain


def test_a_spread_that_is_hardly_known_raises_the_lfsr():
    """Two degrees of freedom have heavy tails."""
    assert (
        learnt(2).weigh([3.0, 2.0, 4.0, 3.0], 2).lfsr
        > 2 * learnt(2).weigh([3.0, 2.0, 4.0, 3.0], MANY).lfsr
    )


def test_at_most_one_keep_in_twenty_is_false_over_many_runs():
    """`fdr` holds if every proposal is judged to its end, and a discard takes few trials."""
    rng, false, keeps, spent, discards = random.Random(5), 0, 0, 0, 0
    for run in range(20):
        prior, kept = learnt(run), KeepTally()
        for _ in range(200):
            gain = draw_gain(rng)
            decision, trials = judge(rng, prior, kept, gain)
            if decision.verdict == "keep":
                kept = KeepTally(kept.count + 1, kept.lfsr_sum + decision.gain.lfsr)
                keeps, false = keeps + 1, false + (gain <= 0)
            else:
                discards, spent = discards + 1, spent + trials
    assert keeps > 300
    assert false / keeps <= 0.05
    assert spent / discards <= 1.3


def test_claimed_gains_are_true_on_average():
    """Stopping at a lucky moment flatters the raw mean; the shrunk one is not null."""
    rng, claimed, true = random.Random(6), 0.0, 0.0
    for run in range(20):
        prior = learnt(run)
        for _ in range(200):
            gain = draw_gain(rng)
            decision, _ = judge(rng, prior, KeepTally(), gain)
            if decision.verdict == "keep":
                claimed, true = claimed + decision.gain.mean, true + gain
    assert claimed / true == pytest.approx(1, abs=0.05)


def test_the_screening_score_is_no_evidence_of_the_learnt_rule_either():
    """Once there are pairs, what the screen said changes no verdict."""
    one, other = (decide(x, [2.0, 1.0], NOISE, learnt(3), KeepTally()) for x in (1.0, 9.0))
    assert one == other


def test_the_lfsr_is_averaged_over_the_run():
    """A candidate with a middling lfsr is kept after certain keeps, and not as the first."""
    prior, pairs = replace(learnt(4), bar=1.8), [0.6]
    lfsr = prior.weigh(pairs, NOISE.known_by).lfsr
    assert RULE.fdr < lfsr < 4 * RULE.fdr
    assert decide(2.0, pairs, NOISE, prior, KeepTally()).verdict != "keep"
    assert decide(2.0, pairs, NOISE, prior, KeepTally(30, 0.0)).verdict == "keep"


@pytest.mark.parametrize(("seeds", "needed"), [(11, 1), (6, 2), (4, 2), (2, 4)])
def test_nothing_is_kept_until_the_spread_is_known(seeds, needed):
    """Not even a gain of thirty standard deviations, where few scores more could change them."""
    noise = Noise(sigma=0.5**0.5, seeds=seeds)
    for pairs in range(1, needed + 1):
        verdict = decide(30.0, [30.0] * pairs, noise, learnt(3), KeepTally()).verdict
        assert verdict == ("keep" if pairs == needed else "confirm")
    scarce = replace(RULE, max_pairs=1)
    assert decide(30.0, [30.0], noise, learnt(3), KeepTally(), rule=scarce).verdict == "keep"


@pytest.mark.parametrize("off", [60.0, -60.0])
def test_a_pair_that_is_far_off_is_measured_once_more(off):
    """It decides nothing; two others that agree do, and that it is left out is said."""
    prior, kept = learnt(3), KeepTally(20, 0.0)
    assert decide(3.0, [off], NOISE, prior, kept).verdict == "confirm"
    assert decide(3.0, [3.0, off], NOISE, prior, kept).verdict == "confirm"
    decision = decide(3.0, [3.0, off, 3.5], NOISE, prior, kept)
    assert decision.verdict == "keep"
    assert decision.reason.endswith("on 2 pairs, 1 far off left out")
    assert abs(decision.gain.mean - 3.2) < 3 * decision.gain.noise < 3.0
    assert decide(3.0, [-1.0, off, -1.2], NOISE, prior, kept).verdict == "discard"


@pytest.mark.parametrize("pairs", [[300.0, -300.0] * 4, [-90.0, 300.0, 900.0, -500.0] * 2])
def test_where_no_two_pairs_agree_nothing_is_kept(pairs):
    """However good the screens say that proposals are; the record says what the pairs showed."""
    prior = learn([8.0 + gain for gain in (-2.0, -1.0, 0.0, 1.0, 2.0)] * 12, MANY)
    assert decide(9.0, pairs[:4], NOISE, prior, KeepTally(20, 0.0)).verdict == "confirm"
    decision = decide(9.0, pairs, NOISE, prior, KeepTally(20, 0.0))
    assert (decision.verdict, decision.reason) == ("discard", "no two of 8 pairs agree")
    assert decision.gain.mean == pytest.approx(fmean(pairs))
    assert (decision.gain.pairs, decision.gain.noise > 100.0) == (8, True)


def test_a_large_gain_that_the_screen_showed_too_needs_no_second_pair():
    """A spike would have had to strike twice; the screen alone is never enough."""
    prior, kept = learnt(3), KeepTally()
    assert decide(30.0, [31.0], NOISE, prior, kept).verdict == "keep"
    assert decide(30.0, [0.1], NOISE, prior, kept).verdict != "keep"


def test_where_levels_move_no_keep_borrows_from_others_and_none_rests_on_one_pair():
    """What is kept there has an lfsr of `fdr` at most, and two pairs."""
    for pairs, there in (([0.6], "discard"), ([30.0], "confirm"), ([30.0, 30.0], "keep")):
        steady = CandidateEvidence(pairs[0], pairs, NOISE, learnt(4), KeepTally(30, 0.0))
        assert RULE.decide(steady).verdict == "keep"
        assert RULE.decide(replace(steady, restless=True)).verdict == there


def test_screens_that_show_less_noise_than_was_measured_make_no_stated_error_smaller():
    """What is known of a gain is as uncertain as the pairs were measured to be."""
    pairs = [3.0, 3.4]
    usual = decide(3.0, pairs, NOISE, replace(learnt(4), unit=1.0), KeepTally())
    shown = [0.64 * pair for pair in pairs]
    quieter = decide(0.64 * 3.0, shown, NOISE, replace(learnt(4), unit=0.64), KeepTally())
    assert quieter.gain.mean == pytest.approx(0.64 * usual.gain.mean)
    assert quieter.gain.lfsr == pytest.approx(usual.gain.lfsr)
    assert quieter.gain.noise == pytest.approx(usual.gain.noise)


def test_the_first_keep_of_a_run_needs_more_than_later_ones():
    """How many proposals gain is a guess until some were kept."""
    prior = learnt(4)
    for gain in (1.0, 1.2, 1.4, 1.6, 1.8, 2.0):
        lfsr = prior.weigh([gain], NOISE.known_by).lfsr
        first = decide(2.0, [gain], NOISE, prior, KeepTally()).verdict == "keep"
        assert first == (lfsr <= RULE.fdr / (1 + CAUTION))


def test_pairs_teach_how_many_proposals_gain():
    """Where none of those that looked well gained, fewer are expected to."""
    rng = random.Random(12)
    screened = [rng.gauss(0, 1.2) for _ in range(60)]
    best = [gain for gain in screened if gain > 1]
    nothing = learn(screened, MANY, [ConfirmedGain(gain, 0.0, 3) for gain in best])
    real = learn(screened, MANY, [ConfirmedGain(gain, gain, 3) for gain in best])
    shares = [
        float(prior.prior[GRID > 0.5].sum()) for prior in (nothing, learn(screened, MANY), real)
    ]
    assert shares[0] < shares[1] < shares[2]


def test_screens_bound_a_noise_that_a_far_off_baseline_score_inflated():
    """No pair is noisier than all gains together."""
    rng = random.Random(13)
    assert learn([rng.gauss(0, 0.02) for _ in range(40)], 3).unit == pytest.approx(0.02, rel=0.4)


def test_a_spread_that_looks_too_small_shows_in_what_is_screened():
    """Gains three times as wide on either side as a pair is thought to vary are noise mostly."""
    rng = random.Random(9)
    for scale in (0.7, 1.0, 3.0):
        unit = learn([rng.gauss(0, scale) for _ in range(100)], 3).unit
        assert unit == pytest.approx(scale, rel=0.25)
    assert learn([rng.gauss(0, 3) for _ in range(100)], 200).unit == pytest.approx(1, abs=0.2)


def test_proposals_that_change_nothing_do_not_say_how_noisy_a_pair_is():
    """A program that is the same again scores the same to the last digit."""
    rng = random.Random(10)
    gains = [rng.gauss(-1, 1.5) for _ in range(60)]
    assert learn(gains + [0.0] * 200, 3).unit == learn(gains, 3).unit


def test_little_is_spent_on_what_is_discarded_where_nothing_gains():
    """What passes a screen of noise alone costs each proposal less than WASTE trials."""
    rng = random.Random(11)
    prior = learn([rng.gauss(0, 1) for _ in range(400)], MANY)
    nothing = CONFIRM_TRIALS[GRID == 0].item()
    assert NormalDist().cdf(-prior.bar) * nothing < MAX_WASTED_TRIALS
    assert (
        NormalDist().cdf(-prior.bar + 0.5) * nothing > MAX_WASTED_TRIALS
    )  # and it is no higher than that


def test_of_a_change_that_another_island_kept_the_first_trial_is_evidence():
    """What it was worth there makes one good pair enough to keep it here, and a bad one to drop."""
    prior = prior_of_migrant(learnt(3), (2.0, 0.7), 0.75)
    good, bad = (decide(x, [], NOISE, prior, KeepTally(20, 0.4)) for x in (1.5, -1.5))
    assert (good.verdict, good.gain.pairs) == ("keep", 1)
    assert bad.verdict == "discard"
    assert decide(9.0, [], NOISE, learnt(3), KeepTally(20, 0.4)).verdict == "confirm"


def test_the_gain_of_such_a_change_lies_between_what_was_measured_here_and_there():
    """Neither the source's gain nor the one pair of this island is taken for the whole truth."""
    prior = prior_of_migrant(learnt(3), (4.0, 0.5), 0.9)
    gain = decide(2.0, [2.0], NOISE, prior, KeepTally()).gain.mean
    assert 2.0 < gain < 4.0


@pytest.mark.parametrize("error", [-1.0, 0.0, 1.0])
def test_screens_on_one_seed_tell_the_error_of_the_heads_score_there(error):
    """The more there are, the nearer; a candidate that fails tells nothing, however bad."""
    rng, prior = random.Random(12), PRIOR
    on_seed = [draw_gain(rng) + rng.gauss(0, 0.5**0.5) + error for _ in range(80)]
    few, many = prior.head_error(on_seed[:8]), prior.head_error(on_seed)
    assert many == pytest.approx(error, abs=0.35)
    assert abs(few) <= 1.5
    assert prior.head_error([]) == 0.0
    assert prior.head_error([*on_seed, -90.0]) == pytest.approx(many, abs=0.01)


@pytest.mark.parametrize(
    ("noise", "least", "most"), [(0.4, 0.4, 0.6), (0.8, 0.6, 0.9), (2, 0.6, 1)]
)
def test_how_noisy_a_screen_is_beside_a_pair_is_learnt(noise, least, most):
    """Where pairs are known; it is never taken to be noisier than those."""
    rng = random.Random(14)
    prior = learn([draw_gain(rng) / 4 + rng.gauss(0, noise) for _ in range(50)], MANY)
    assert least <= prior.screen_noise <= most
    assert prior.unit == pytest.approx(1.0, abs=0.2)


@given(st.lists(st.floats(-1e6, 1e6), max_size=20))
def test_the_error_of_a_heads_score_is_never_beyond_belief(on_seed):
    """However far off the screens are."""
    assert abs(PRIOR.head_error(on_seed)) <= MAX_HEAD_ERROR
