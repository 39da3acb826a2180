"""Acceptance rules, noise, guards, seeds and the life of an experiment, as pure functions."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from islands.ratchet.acceptance import CandidateEvidence, KeepTally
from islands.ratchet.learnt_prior import learn
from islands.ratchet.lfsr import LfsrRule
from islands.ratchet.noise import Noise, gain_of, spread, weigh
from islands.records import Gain, decimal
from islands.rng import seed_of
from islands.state.lifecycle import LIFECYCLE, LifecycleError, diagram, has_ended, next_state
from swarm.simulation.rules import RULES
from swarm.simulation.rules.e_lond import e_lond_threshold, e_value

NOISE = Noise(sigma=0.01, seeds=4)
FIXED = RULES["three-seeds"]
FINITE = st.floats(-1, 1)
VERDICTS = {"keep", "discard", "confirm"}


def decided(screened, pairs, noise, rule=FIXED, kept=KeepTally()):
    """Return the decision of `rule` on a candidate, with a prior learned from nothing."""
    return rule.decide(CandidateEvidence(screened, pairs, noise, learn([], 9), kept))


def test_one_pair_varies_by_root_two_sigma_before_any_pair_is_known():
    """Two independent scores differ with the variance of both."""
    assert NOISE.pair == pytest.approx(0.01 * 2**0.5)


def test_pairs_teach_the_run_their_own_spread():
    """Confirmations on common seeds outweigh the baseline's spread as they gather."""
    learnt = Noise(sigma=0.01, seeds=4, residual=100 * 0.01**2, freedom=100)
    assert learnt.pair == pytest.approx((0.0006 + 0.01) ** 0.5 / 103**0.5)


def test_a_baseline_that_varies_much_more_than_pairs_do_misleads():
    """Six times the variance of pairs: they alone say how noisy one is, once there are enough."""
    few = Noise(sigma=0.024, seeds=4, residual=5 * 0.0105**2, freedom=5)
    many = replace(few, residual=6 * 0.0105**2, freedom=6)
    assert (few.known_by, many.known_by) == (8, 6)
    assert few.pair > 0.02
    assert many.pair == pytest.approx(0.0105)
    assert replace(many, sigma=0.018).known_by == 9


@pytest.mark.parametrize(
    ("pairs", "verdict"),
    [
        ([0.1], "confirm"),
        ([0.1, 0.12], "keep"),
        ([0.04, 0.045], "confirm"),
        ([0.1, -0.1], "confirm"),
    ],
)
def test_two_pairs_that_leave_no_doubt_are_enough(pairs, verdict):
    """Beside a baseline of four seeds; one is not, and less clear ones ask for more."""
    prior = learn([*(random.Random(n).gauss(-0.5, 1) for n in range(20)), 7.0], 3)
    evidence = CandidateEvidence(0.1, pairs, Noise(0.01, 4), prior, KeepTally())
    decision = LfsrRule().decide(evidence)
    assert decision.verdict == verdict
    if verdict == "keep":
        assert decision.gain.lfsr <= 0.001


@pytest.mark.parametrize(
    ("screened", "pairs", "verdict"),
    [
        (0.0100, [], "discard"),
        (0.0150, [], "confirm"),
        (0.0150, [-0.001], "discard"),
        (0.0150, [0.001], "confirm"),
        (0.0150, [0.03, 0.02, 0.025], "keep"),
        (0.0150, [0.010, 0.012, 0.011], "discard"),
    ],
)
def test_verdicts(screened, pairs, verdict):
    """Screen at one sigma of a pair, drop at the first turn, keep beyond two standard errors."""
    assert decided(screened, pairs, NOISE).verdict == verdict


def test_a_screen_states_what_its_slice_may_have_moved_by():
    """As noise of its gain; only what is as much above the bar is confirmed."""
    evidence = CandidateEvidence(-0.26, [], NOISE, learn([], 9), KeepTally(), doubt=0.2)
    lost = FIXED.decide(evidence)
    assert (lost.verdict, lost.gain.noise > 0.2) == ("discard", True)
    good = replace(evidence, screened=0.1, steady=False)
    assert FIXED.decide(replace(good, doubt=0.0)).verdict == "confirm"
    assert FIXED.decide(good).verdict == "discard"


def test_without_noise_any_gain_is_confirmed_and_kept():
    """A deterministic metric needs no margin, but still its fresh seeds."""
    silent = Noise(0.0, 4)
    assert decided(1e-9, [], silent).verdict == "confirm"
    assert decided(1e-9, [1e-9] * 3, silent).verdict == "keep"
    assert decided(0.0, [], silent).verdict == "discard"


@given(st.lists(FINITE, min_size=3, max_size=3), FINITE)
def test_the_screening_score_is_no_evidence(pairs, screened):
    """Once there are pairs, what the screen said changes no verdict."""
    assert decided(screened, pairs, NOISE) == decided(0.5, pairs, NOISE)


@given(st.lists(FINITE, min_size=1, max_size=8))
def test_every_confirmation_ends(pairs):
    """No evidence asks for more seeds than the rule has."""
    decision = decided(1.0, pairs, NOISE)
    assert decision.verdict in ("keep", "discard") or len(pairs) < 3
    assert decision.gain == weigh(pairs, NOISE)


def test_a_gain_is_better_above_zero_in_both_directions():
    """A lower loss and a higher yield are both gains."""
    assert gain_of(2.0, 1.5, "minimize") == 0.5
    assert gain_of(2.0, 2.5, "maximize") == 0.5


@pytest.mark.parametrize(
    ("mean", "noise", "text"),
    [
        (0.0182, 0.012, "+0.018 ± 0.012"),
        (-0.02759, 0.0066, "-0.0276 ± 0.0066"),
        (0.41611, 0.0996, "+0.42 ± 0.10"),
        (1234.5, 120.0, "+1234 ± 120"),
        (0.0, 1e-5, "+0.000000 ± 0.000010"),
        (0.25, 0.0, "+0.25 ± 0"),
        (0.25, float("inf"), "+0.25 ± inf"),
        (float("inf"), 0.1, "+inf ± 0.1"),
        (-1.2345e228, 1.2e227, "-1.23e+228 ± 1.2e+227"),
        (0.5, 3e9, "+5e-01 ± 3.0e+09"),
        (2e-13, 1.5e-14, "+2.00e-13 ± 1.5e-14"),
        (123456.0, 1e-20, "+1.234560000e+05 ± 1.0e-20"),
    ],
)
def test_a_gain_is_printed_with_the_digits_that_its_noise_justifies(mean, noise, text):
    """Two digits of noise, the mean to the same place, always signed."""
    assert Gain(mean, noise, 1).format() == text


@pytest.mark.parametrize("mean", [0.0, 1e-300, -3e-9, 0.1, -12345.6, 1e9, -1e228, 1.7e308])
@pytest.mark.parametrize("noise", [0.0, 1e-300, 1e-9, 0.1, 99.96, 1e9, 1e228, math.inf])
def test_no_number_of_a_candidate_is_longer_than_a_line(mean, noise):
    """A diverged loss has more than 200 digits; so has one that a genome makes tiny."""
    assert len(Gain(mean, noise, 1).format()) <= 40
    assert len(decimal(mean, 5, "+")) <= 18


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "+0.0000"),
        (-0.01234, "-0.0123"),
        (12345678.0, "+12345678.0000"),
        (2.3456e228, "+2.35e+228"),
        (0.000012, "+1.2e-05"),
    ],
)
def test_a_number_has_its_places_or_an_exponent(value, text):
    """Four places of a score of 0.000012 would show nothing of it."""
    assert decimal(value, 4, "+") == text


def test_spread_of_one_score_is_unknown_and_zero():
    """One score has no spread; two do."""
    assert spread([1.0]) == 0.0
    assert spread([1.0, 3.0]) == pytest.approx(2**0.5)


def test_seeds_differ_by_what_they_are_for():
    """A seed is fixed by run and purpose, and fits the 31 bits that every generator takes."""
    seeds = {seed_of(1, "confirm", n, k) for n in range(50) for k in range(20)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert seed_of(1, "confirm", 3, 0) == seed_of(1, "confirm", 3, 0)


def test_the_table_of_lives_leads_every_state_to_an_end():
    """From each state an end can be reached, and an end leads nowhere."""
    alive = [state for state in LIFECYCLE if not has_ended(state)]
    for _ in LIFECYCLE:
        alive = [s for s in alive if not any(n not in alive for n in LIFECYCLE[s].values())]
    assert alive == []


def test_an_unlisted_occurrence_raises():
    """What the table does not list is our bug and says so."""
    with pytest.raises(LifecycleError, match="discarded cannot be keep"):
        next_state("discarded", "keep")
    assert next_state("confirming", "keep") == "kept"


def test_the_diagram_draws_every_arrow_of_the_table():
    """The picture in the README is the table."""
    lines = [line.strip() for line in diagram().splitlines() if ": " in line]
    arrows = [
        (arrow.split(" --> "), events) for arrow, events in (each.split(": ") for each in lines)
    ]
    drawn = {(old, event, new) for (old, new), events in arrows for event in events.split(", ")}
    table = {(old, *arrow) for old, successors in LIFECYCLE.items() for arrow in successors.items()}
    assert drawn == table
    assert len(lines) < len(table)  # parallel arrows are one


def test_a_bet_grows_on_gains_alone_and_is_worth_one_before_any():
    """Ville: the chance that luck ever makes twenty of it is one in twenty at most."""
    rng = random.Random(8)
    assert e_value(0.0, 1) < 1 < e_value(2.0, 1) < e_value(2.0, 4)
    assert e_lond_threshold(0.05, 1, 0) == pytest.approx(40)
    assert e_lond_threshold(0.05, 3, 1) == pytest.approx(120)
    ever = 0
    for _ in range(2000):
        total, best = 0.0, 0.0
        for pairs in range(1, 30):
            total += rng.gauss(0, 1)
            best = max(best, e_value(total / pairs, pairs))
        ever += best >= 20
    assert 20 < ever <= 100


def test_what_bets_keeps_at_its_price_and_asks_more_of_later_ones():
    """The same pairs keep the first candidate that is confirmed, and not the hundredth."""
    rule, noise, pairs = RULES["e-lond"], Noise(sigma=0.5**0.5, seeds=50), [3.0, 3.0, 3.0]
    first = decided(3.0, pairs, noise, rule, KeepTally(turn=1))
    later = decided(3.0, pairs, noise, rule, KeepTally(turn=10_000))
    assert (first.verdict, later.verdict) == ("keep", "confirm")
    assert decided(3.0, [-1.0], noise, rule).verdict == "discard"


@given(
    pairs=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8),
    screened=st.floats(-1e3, 1e3),
    screens=st.booleans(),
)
def test_any_scatter_of_pairs_is_decided(pairs, screened, screens):
    """Be every pair far off from the rest: measured once more while seeds are left, then judged."""
    learnt = learn([], 9)
    prior = learnt if screens else replace(learnt, bar=-math.inf)  # a migrant is not screened
    evidence = CandidateEvidence(screened, pairs, NOISE, prior, KeepTally())
    rule = RULES["swarm"]
    decision = rule.decide(evidence)
    ended = {"keep", "discard"}
    assert decision.verdict in (ended if len(pairs) >= rule.max_pairs else VERDICTS)
    if decision.gain is not None:
        assert math.isfinite(decision.gain.mean)
        assert 0 <= decision.gain.lfsr <= 1
