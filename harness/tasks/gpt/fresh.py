"""Scores on fresh text: pieces that no sandbox has held, each asked about by one pair of trials.

What one sandbox is asked, another may hear of, through a channel that the walls leave open. A gain
bought so is not there on text that no sandbox has ever held. Nor can the sandboxes of one trial
tell each other: each token is asked for by the text before it, what follows it replaced by training
text, in the order of positions, as in an audit. When a sandbox is asked for a token, none has been
sent it.

Windows of a piece come from all along the text. What came of a piece is judged by its parts, one
for each window, of head and candidate (`islands.ratchet.fresh`).

What a channel of R bits a second can buy: a message of k bits shortens the expected cost of text by
at most k bits. Held in dev, of D bytes, of which each trial draws its own windows, all that was
passed in T seconds lowers a score by at most R T / D bits per byte: for kjv (D = 393,000) a channel
of 15 bits a second buys 0.0008 in a trial of 20 s, 0.14 in an hour; one of 20,000 bits a second
would buy 1.0 in one trial. On fresh text all of it is worth nothing, and a gain on dev that is not
there is refuted from about 0.02 bits per byte on, where a pair of trials tells by 4,096 tokens.

Not covered:
- a gain bought that is smaller than the noise of that comparison passes, and so may several, one
  after another, up to what the channel has passed; a promotion's hidden split sees their sum;
- the candidate's trial on a piece comes first; a head that is run again on a piece, since the
  machine disturbed its trial, may know of it;
- another run, or another user of this machine, may have been asked about the same pieces;
- text that the agent's own model knows by heart.
"""

from __future__ import annotations

import secrets

import numpy as np
from numpy.typing import NDArray

from harness.data import Corpus
from harness.tasks.base import Confine
from harness.tasks.gpt.audit import arrange, question
from harness.tasks.gpt.bits import bits
from harness.tasks.gpt.logits import Logits, ScoredModel, ask
from harness.tasks.gpt.windows import Windows, drawn, whole_text

PIECE_WINDOWS = 32
"""Windows of a piece."""

PIECE_POSITIONS = 4096
"""Most positions of a piece that are asked for, the same number in each window."""

EFFORT = 4.0
"""CPU time that answers about a piece may take, in that of a score: it asks for a row for each
position, 278,000 tokens of kjv in place of 24,000, of which the seed genome answers 37,000 a second
on one core."""

DEV_PARTS = 32
"""Parts in which the score on dev is given, to be compared with a piece's."""


def fresh_pieces(corpus: Corpus) -> int:
    """Return how many pieces of fresh text a corpus has."""
    windows = (corpus.splits["fresh"].tokens - 1) // corpus.context
    return windows // PIECE_WINDOWS


def fresh_text(corpus: Corpus, piece: int) -> Windows:
    """Return the windows of piece `piece`, from 1: they lie as far apart as those of the others."""
    pieces = fresh_pieces(corpus)
    if not 1 <= piece <= pieces:
        raise ValueError(f"corpus {corpus.name} has {pieces} pieces of fresh text, not {piece}")
    text = whole_text(corpus.name, corpus.digest, "fresh")
    return text.take(np.arange(piece - 1, pieces * PIECE_WINDOWS, pieces))


def fresh_parts(
    model: ScoredModel, text: Windows, confine: Confine, seconds: float
) -> tuple[float, ...]:
    """Return the model's score on each window of a piece.

    Raises InvalidError if its answers are not a forecast, or take more than `seconds`.
    """
    count, context = text.inputs.shape
    asked = positions(count, context, np.random.default_rng(0))  # one draw for all commits
    random = np.random.default_rng(secrets.randbits(128))
    batches = arrange(asked, model.context, model.rows)
    cost = np.zeros(text.targets.size)

    def take(i: int, logits: Logits) -> None:
        cost[batches[i]] = bits(logits[: len(batches[i])], text.targets.ravel()[batches[i]])

    questions = [question(batch, text, model.rows, random) for batch in batches]
    ask(model, questions, confine, seconds, take, effort=EFFORT)
    sizes = np.zeros(text.sizes.size, text.sizes.dtype)
    sizes[asked] = text.sizes.ravel()[asked]
    return part_scores(cost.reshape(text.sizes.shape), sizes.reshape(text.sizes.shape))


def positions(count: int, context: int, random: np.random.Generator) -> NDArray[np.intp]:
    """Draw as many positions of each of `count` windows as make up PIECE_POSITIONS at most."""
    each = max(2, PIECE_POSITIONS // count)
    rows = [window * context + drawn(context, each, random) for window in range(count)]
    return np.concatenate(rows)


def part_scores(
    cost: NDArray[np.float64], sizes: NDArray[np.int32], parts: int = DEV_PARTS
) -> tuple[float, ...]:
    """Return the scores of consecutive parts of the windows, whose mean is the score of them all.

    So each is the part's bits by a part's mean number of bytes.
    """
    spent = np.where(sizes > 0, cost, 0).sum(axis=1)
    groups = np.array_split(spent, min(parts, len(spent)))
    mean_bytes = sizes.sum() / len(groups)
    return tuple(float(group.sum() / mean_bytes) for group in groups)
