"""The score and the look-ahead audit, of honest models and of cheating ones."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from harness.contract import FULL_AUDIT, SCREENING_AUDIT, Rung, Slice
from harness.tasks import gpt
from harness.tasks.base import InvalidError
from tests.support.gpt import (
    CONTEXT,
    VOCAB,
    WINDOWS,
    bigram_logits,
    expected_bits,
    honest_model,
    served,
)


def test_the_score_is_that_of_the_forecasts(model, text):
    """Windows are queried in random order, and each cost is stored at its own target."""
    cost, start = gpt.bits.score(model, text, served(honest_model), 9)
    assert np.abs(cost - expected_bits(text)).max() < 1e-5
    assert start >= 0


def test_more_than_a_million_tokens_are_scored_with_their_error(trial, tmp_path):
    """What a GPU's trial of 330 s is scored on: 1.15 million tokens in windows of 2,048, audited.

    The score is the mean by the book; its error, of independent windows, that of a mean.
    """
    vocab, context, random = 8, 2048, np.random.default_rng(3)
    table = random.normal(size=(vocab, vocab)).astype(np.float32)
    exact = np.log2(np.exp(table.astype(np.float64)).sum(1))[:, None] - table / np.log(2)
    inputs = random.integers(vocab, size=(700, context)).astype(np.int32)
    targets = random.integers(vocab, size=(700, context)).astype(np.int32)
    drawn = gpt.windows.Windows(
        inputs, targets, np.ones_like(targets), exact[inputs, targets], inputs.astype("u2").ravel()
    )
    most = gpt.windows.max_scored_tokens(Rung(8, 330.0), Slice("gpu0", "cuda"))
    text = drawn.take(gpt.windows.drawn(len(inputs), most // context, random))
    assert text.inputs.size == most // context * context > 2**20
    model = gpt.logits.ScoredModel(trial, tmp_path / "none", vocab, context)
    served_by_table = served(lambda: lambda tokens: table[tokens])
    cost, _ = gpt.bits.score(model, text, served_by_table, 9)
    value, error = gpt.bits.bits_per_byte(cost, text.sizes)
    spread = exact.std() / np.sqrt(text.inputs.size)
    assert value == pytest.approx(exact[text.inputs, text.targets].mean(), abs=1e-6)
    assert error == pytest.approx(spread, rel=0.1)
    full = replace(model, trial=replace(trial, audit=FULL_AUDIT))
    audited = gpt.audit.audit(full, text, cost, served_by_table, 9)
    assert audited.positions == pytest.approx(FULL_AUDIT, rel=0.01)


def test_the_first_answer_of_a_window_counts(model, text):
    """A model knows those that fill the last batch: it was asked them before."""
    seen, known = set(), []

    def remember():
        table = bigram_logits()

        def forward(tokens):
            old = np.array([row.tobytes() in seen for row in tokens])
            known.append(old.sum())
            seen.update(row.tobytes() for row in tokens)
            return table[tokens] * ~old[:, None, None]

        return forward

    cost, _ = gpt.bits.score(model, text, served(remember), 9)
    assert sum(known) == -WINDOWS % 7 > 0
    assert np.abs(cost - expected_bits(text)).max() < 1e-5


def test_questions_hold_inputs_in_an_order_of_their_own(model, text):
    """Each window comes at least once, whole, and rarely beside its neighbour."""
    seen = []

    def listen():
        answer = honest_model()
        return lambda tokens: seen.append(tokens) or answer(tokens)

    gpt.bits.score(model, text, served(listen), 9)
    assert {len(tokens) for tokens in seen} == {7}
    rows = [row.tobytes() for tokens in seen for row in tokens]
    numbers = {row.tobytes(): i for i, row in enumerate(text.inputs)}
    assert set(rows) == set(numbers)
    order = [numbers[row] for row in rows]
    assert sum(b - a == 1 for a, b in pairwise(order)) < WINDOWS / 10


def _attends():
    """Causal, and more than a bigram: the mean of all logits so far joins in."""
    table = bigram_logits()

    def forward(tokens):
        logits = table[tokens]
        past = logits.cumsum(axis=1) / np.arange(1, tokens.shape[1] + 1)[:, None]
        return logits + 0.1 * past

    return forward


def _rounds():
    """Honest, on a device that never sums twice in the same order."""
    table, random = bigram_logits(), np.random.default_rng()
    return lambda tokens: table[tokens] + random.normal(size=(*tokens.shape, VOCAB)) * 5e-5


@pytest.mark.parametrize("make", [honest_model, _attends, _rounds])
def test_an_honest_model_passes_its_audit(model, text, make):
    """No forecast changes, and the hidden gain is about zero."""
    cost, _ = gpt.bits.score(model, text, served(make), 9)
    result = gpt.audit.audit(model, text, cost, served(make), 9)
    assert result.positions > 450
    assert abs(result.hidden_gain) < 1e-4


def _peek(positions, strength=3.0):
    def make():
        table = bigram_logits()

        def forward(tokens):
            logits = table[tokens]
            following = np.eye(VOCAB)[np.roll(tokens, -1, axis=1)] * strength
            mask = positions(np.arange(tokens.shape[1]))[:, None]
            return logits + following * mask

        return forward

    return make


def _other_rows():
    table = bigram_logits()
    return lambda tokens: table[tokens] + 0.1 * table[tokens].mean(axis=(0, 1))


def _remembers():
    table, counts = bigram_logits(), np.zeros((VOCAB, VOCAB))

    def forward(tokens):
        logits = table[tokens] + 0.1 * np.log1p(counts[tokens])
        np.add.at(counts, (tokens[:, :-1], tokens[:, 1:]), 1)
        return logits

    return forward


def _rolls_dice():
    table, random = bigram_logits(), np.random.default_rng()
    return lambda tokens: table[tokens] + random.normal(size=(*tokens.shape, VOCAB)) * 0.1


def _knows_its_place():
    table = bigram_logits()
    return lambda tokens: table[tokens] + np.eye(VOCAB)[np.arange(len(tokens))][:, None] * 0.1


CHEATS = {
    "everywhere": _peek(lambda t: t >= 0),
    "inside blocks of four": _peek(lambda t: t % 4 < 3),
    "in the tail": _peek(lambda t: t >= CONTEXT - 3),
    "at one place": _peek(lambda t: t == 5),
    "everywhere, but hardly": _peek(lambda t: t >= 0, strength=3e-4),
    "at other rows": _other_rows,
    "back at other batches": _remembers,
    "at dice": _rolls_dice,
    "at its row's number": _knows_its_place,
}


@pytest.mark.parametrize("make", CHEATS.values(), ids=CHEATS.keys())
def test_a_model_that_looks_elsewhere_is_invalid(model, text, make):
    """The audit finds forecasts that depend on anything but their own prefix."""
    cost, _ = gpt.bits.score(model, text, served(make), 9)
    with pytest.raises(InvalidError, match=r"its model uses more than the tokens before$"):
        gpt.audit.audit(model, text, cost, served(make), 9)


def test_the_audit_sandbox_never_saw_what_it_must_forecast(text):
    """No earlier question, nor this one, holds the window beyond the position that is asked."""
    random = np.random.default_rng(0)
    spots = np.concatenate(gpt.audit.choose(np.ones(text.targets.shape), SCREENING_AUDIT, random))
    shown = np.zeros(WINDOWS, int)
    count = 0
    for batch in gpt.audit.arrange(spots, CONTEXT, rows=7):
        window, at = np.divmod(batch, CONTEXT)
        assert len(set(window)) == len(window) <= 7
        assert (shown[window] <= at).all()
        shown[window] = at + 1
        count += len(batch)
        question = gpt.audit.question(batch, text, 7, random)
        tokens = question.tokens
        assert tokens.shape[1] == max(at) + 1
        assert question.at[: len(at)].tolist() == at.tolist()
        assert max(question.at) <= max(at)
        for row, (w, t) in enumerate(zip(window, at, strict=True)):
            assert tokens[row, : t + 1].tolist() == text.inputs[w, : t + 1].tolist()
    assert count == len(set(spots))


def test_what_follows_an_audited_prefix_is_training_text(text):
    """The rest of a row, and rows that hold no prefix, are windows of the training text."""
    random = np.random.default_rng(0)
    spot = np.array([CONTEXT * 9 + 2])
    tokens = gpt.audit.question(spot, text, 7, random).tokens
    train = text.train.astype(np.int32)
    windows = np.lib.stride_tricks.sliding_window_view(train, tokens.shape[1])
    assert (windows[:, 3:] == tokens[0, 3:]).all(axis=1).any()
    assert len(tokens) == 7
    assert all((windows == row).all(axis=1).any() for row in tokens[1:])


def test_a_full_audit_finds_what_a_screening_audit_may_miss(model, text):
    """Of 6,400 forecasts 40 change: a screening misses them one time in five, a full one never."""
    full = replace(model, trial=replace(model.trial, audit=FULL_AUDIT))
    cost, _ = gpt.bits.score(model, text, served(honest_model), 9)
    assert gpt.audit.audit(full, text, cost, served(honest_model), 9).positions > 3_000
    cost[:40, 3] += 0.01
    with pytest.raises(InvalidError, match=r"of 3[0-9]{3} audited forecasts change"):
        gpt.audit.audit(full, text, cost, served(honest_model), 9)


def test_an_audit_asks_about_as_many_tokens_as_its_score(model, text):
    """It asks two positions of each window, of half the context on average; a full one asks all."""
    few = text.take(np.arange(40))
    cost, _ = gpt.bits.score(model, few, served(honest_model), 9)
    asked = []

    def listen():
        answer = honest_model()
        return lambda tokens: asked.append(tokens.size) or answer(tokens)

    assert gpt.audit.audit(model, few, cost, served(listen), 9).positions > 2 * 40 * 0.8
    assert 0.5 < sum(asked) / few.inputs.size < 1.5
    full = replace(model, trial=replace(model.trial, audit=FULL_AUDIT))
    assert gpt.audit.audit(full, few, cost, served(listen), 9).positions == few.inputs.size


@pytest.mark.parametrize("share", [1.0, 0.05, 0.002])
def test_no_look_ahead_that_a_keep_could_rest_on_is_missed_by_its_pairs(share):
    """As in 10 s trials: 93 windows, where the seed genome gains 0.75 bits on average.

    The least gain that can be kept, 0.03 bits a token, is at one of `share` of the positions.
    """
    random, shape = np.random.default_rng(7), (93, 128)
    honest = random.exponential(0.75, shape)
    ahead = random.random(shape) < share
    gain = honest + ahead * 0.03 / share

    def missed():
        spots = np.concatenate(gpt.audit.choose(gain, gpt.audit.audit_size(512, 93), random))
        return not ahead.ravel()[spots].any()

    audits = np.array([missed() for _ in range(800)])
    assert audits.mean() < 0.05
    assert not audits.reshape(-1, 4).all(axis=1).any()


def test_half_of_an_audit_goes_where_look_ahead_would_pay(text):
    """Positions of great gain are asked more often than their share."""
    gain = np.zeros(text.targets.shape)
    gain[:, 5] = 4.0
    uniform, keen = gpt.audit.choose(gain, SCREENING_AUDIT, np.random.default_rng(0))
    assert len(uniform) == len(keen) == SCREENING_AUDIT // 2
    assert (keen % CONTEXT == 5).all()
    assert (uniform % CONTEXT == 5).mean() < 0.2
