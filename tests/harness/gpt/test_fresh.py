"""Scores on fresh text: what is asked, in which order, and what memory of other text is worth."""

import os

import numpy as np
import pytest

from harness.tasks import gpt
from tests.support.gpt import (
    CONTEXT,
    VOCAB,
    beginning,
    expected_bits,
    honest_model,
    sandbox,
    served,
)


@pytest.fixture(scope="module")
def piece(text):
    """A piece of fresh text: windows that no model is shown elsewhere."""
    return beginning(text, 32)


@pytest.fixture(scope="module")
def dev(text):
    """Other windows of the same text."""
    return text.take(np.arange(100, 200))


class Memory:
    """A model with a perfect channel: it knows all that any sandbox was ever asked."""

    def __init__(self, model):
        self.model, self.heard = model, {}

    def __call__(self, tokens):
        logits = self.model(tokens).copy()
        for row, answer in zip(tokens.tolist(), logits, strict=True):
            for at in range(len(row)):
                follower = self.heard.get(tuple(row[: at + 1]))
                if follower is not None:
                    answer[at, follower] = 50.0
        for row in tokens.tolist():
            for at in range(len(row) - 1):
                before, follower = tuple(row[: at + 1]), row[at + 1]
                sure = self.heard.setdefault(before, follower) == follower
                self.heard[before] = follower if sure else None
        return logits


def test_an_honest_model_costs_what_it_costs(model, piece):
    """The parts are those of the whole text's cost, a window each; their mean is the score."""
    parts = gpt.fresh.fresh_parts(model, piece, served(honest_model), 9)
    cost, size = expected_bits(piece).sum(axis=1), piece.sizes.sum()
    assert parts == pytest.approx((cost / (size / 32)).tolist(), rel=1e-5)
    assert np.mean(parts) == pytest.approx(cost.sum() / size, rel=1e-5)


def test_what_every_sandbox_was_asked_is_worth_nothing_on_fresh_text(model, piece, dev):
    """Given back all that any sandbox held, it knows dev by heart, and of fresh text no token."""
    memory = Memory(honest_model())
    first, _ = gpt.bits.score(model, dev, served(lambda: memory), 9)
    again, _ = gpt.bits.score(model, dev, served(lambda: memory), 9)
    assert again[:, 4:-1].mean() < 0.1 * first.mean()
    parts = gpt.fresh.fresh_parts(model, piece, served(lambda: memory), 9)
    honest = gpt.fresh.fresh_parts(model, piece, served(honest_model), 9)
    assert np.mean(parts) > np.mean(honest) - 1e-3


def test_no_token_is_sent_before_it_has_been_forecast(model, piece):
    """What a sandbox was sent of a window before a question ends where that question's row does."""
    sent = np.zeros(len(piece.inputs), int)

    def listen(tokens, positions):
        for row, at in zip(tokens, positions, strict=True):
            prefixes = (piece.inputs[:, : at + 1] == row[: at + 1]).all(axis=1)
            assert (sent[prefixes] <= at + 1).all()
            sent[prefixes] = at + 1

    gpt.fresh.fresh_parts(model, piece, sandbox(lambda side: _serve(side, listen)), 9)
    assert (sent == CONTEXT).all()


def _serve(side, listen):
    """Answer nothing in particular, and let `listen` see every question."""
    side.ready()
    for tokens, positions in side.asked():
        listen(tokens, positions)
        os.pwrite(side.memory, np.zeros((side.rows, VOCAB), np.float32).tobytes(), 0)
        side.say()


def test_a_long_window_is_asked_at_as_many_positions_as_the_others():
    """Where all are too many, each window has the same number, one in each stretch."""
    asked = gpt.fresh.positions(32, 2048, np.random.default_rng(0))
    window, at = np.divmod(asked, 2048)
    assert np.bincount(window).tolist() == [gpt.fresh.PIECE_POSITIONS // 32] * 32
    assert all((at[window == n] // 16 == np.arange(128)).all() for n in range(32))
