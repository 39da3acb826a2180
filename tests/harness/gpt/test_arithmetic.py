"""Arithmetic of the gpt score: bits, windows, the bigram reference, standard errors."""

import math

import numpy as np
import pytest

from harness.contract import Rung, Slice
from harness.tasks import gpt
from harness.tasks.base import InvalidError
from tests.support.gpt import CONTEXT, expected_bits


def test_bits_are_those_of_a_softmax_in_double_precision():
    """Within 1e-6 bits, large and small logits too, and whatever is added to a whole row."""
    random = np.random.default_rng(0)
    for scale, shift in ((1, 0), (20, 0), (1, 3000), (1e-3, -5)):
        logits = (random.normal(size=(300, 50)) * scale + shift).astype(np.float32)
        targets = random.integers(50, size=300).astype(np.int32)
        exact = logits.astype(np.float64) - shift
        expected = np.log2(np.exp(exact).sum(1)) - exact[np.arange(300), targets] / math.log(2)
        assert np.abs(gpt.bits.bits(logits, targets) - expected).max() < 1e-6 * max(
            1, abs(expected).max()
        )


def test_no_logits_buy_more_than_certainty():
    """However large, the chances of a row sum to one: no target costs less than nothing."""
    logits = np.full((3, 8), -3e38, np.float32)
    logits[:, 2] = 3e38
    assert gpt.bits.bits(logits, np.array([2, 2, 2], np.int32)).tolist() == [0, 0, 0]
    flat = np.full((1, 8), 1e30, np.float32)
    assert gpt.bits.bits(flat, np.array([5], np.int32)) == pytest.approx(3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_invalid(bad):
    """One is enough, also where no target asks for it."""
    logits = np.zeros((5, 8), np.float32)
    logits[3, 4] = bad
    with pytest.raises(InvalidError, match="not finite"):
        gpt.bits.bits(logits, np.zeros(5, np.int32))


def test_every_token_but_the_first_is_a_target_once():
    """Windows do not overlap, and a target is the token after its input."""
    inputs, targets = gpt.windows.windows(np.arange(35, dtype=np.uint16), 8)
    assert inputs.ravel().tolist() == list(range(32))
    assert targets.ravel().tolist() == list(range(1, 33))


def test_a_short_budget_scores_windows_from_all_along_the_text():
    """As many as are wanted, none twice, one of each stretch; all where there are no more."""
    draws = [gpt.windows.drawn(10, 5, np.random.default_rng(seed)) for seed in range(40)]
    assert all(np.array_equal(draw // 2, range(5)) for draw in draws)
    assert {number for draw in draws for number in draw.tolist()} == {*range(10)}
    assert gpt.windows.drawn(5, 9, np.random.default_rng(0)).tolist() == [*range(5)]
    cpu, gpu = Slice("c", "cpu"), Slice("g", "cuda")
    assert gpt.windows.max_scored_tokens(Rung(2, 20), cpu) == 24_000
    assert gpt.windows.max_scored_tokens(Rung(2, 20), gpu) == 70_000
    tokens = [gpt.windows.max_scored_tokens(Rung(12, seconds), gpu) for seconds in (300, 600, 3600)]
    assert tokens == [1_050_000, gpt.windows.MAX_TOKENS, gpt.windows.MAX_TOKENS]
    assert gpt.windows.max_scored_tokens(Rung(1, 20), cpu) == 24_000
    assert gpt.windows.max_scored_tokens(Rung(4, 60), cpu) == 18_000
    assert gpt.windows.max_scored_tokens(Rung(2, 3600), cpu) == gpt.windows.MAX_TOKENS


def test_the_score_of_random_windows_errs_by_its_error():
    """Over many draws of 40 windows of a noisy text, scores spread as each one says."""
    random = np.random.default_rng(0)
    sizes = random.integers(0, 5, size=(20_000, CONTEXT)).astype(np.int32)
    hard = random.gamma(2, size=(20_000, 1))  # the tokens of one window go together
    cost = sizes * hard + random.gamma(1, size=sizes.shape)
    draws = random.integers(len(sizes), size=(1_000, 40))
    estimates = [gpt.bits.bits_per_byte(cost[rows], sizes[rows]) for rows in draws]
    scores, errors = np.array(estimates).T
    whole = np.where(sizes > 0, cost, 0).sum() / sizes.sum()
    assert scores.mean() == pytest.approx(whole, rel=0.01)
    assert scores.std() == pytest.approx(errors.mean(), rel=0.1)


def test_the_reference_is_counted_from_the_training_text(text):
    """A pair costs what its count, smoothed by the single's, says."""
    train = np.array([0, 1, 0, 1, 0, 2], np.uint16)
    pairs = np.array([[0, 2]], np.int32), np.array([[1, 0]], np.int32)
    got = 2 ** -gpt.windows.bigram(train, *pairs, vocab=3)
    prior, weight = np.array([4, 3, 2]) / 9, gpt.windows.PRIOR_TOKENS
    expected = [(2 + weight * prior[1]) / (3 + weight), (0 + weight * prior[0]) / (1 + weight)]
    assert got[0] == pytest.approx(expected)
    # on much text of a bigram's making it is nearly as good as its maker
    assert text.reference.mean() == pytest.approx(expected_bits(text).mean(), rel=0.1)


def test_threads_change_no_bit(monkeypatch):
    """However many cores there are, each position is computed alike."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(7, 500, 400)).astype(np.float32)
    targets = random.integers(400, size=(7, 500)).astype(np.int32)
    results = []
    for count in (1, 3):
        monkeypatch.setattr(gpt.bits, "usable_cores", lambda count=count: [*range(count)])
        results.append(gpt.bits.bits(logits, targets))
    assert (results[0] == results[1]).all()
