"""Held-out text as questions and answers: a part of the gpt task's corpus, cut into windows.

Windows do not overlap; each is forecast from its own start and nothing before it. Neither targets
nor sizes nor the reference ever leave the trusted process. A trial is always scored on the same
windows of its part, so that differences of scores are paired.

Not covered: per-token claims. Where full rows of a part are too much to move, less of the part is
scored, with its standard error; a genome's own word on what its targets cost is never taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harness.contract import Rung, Slice, Split
from harness.data import open_corpus

MOST = 1 << 20
"""Tokens that are scored at most: 2^20 have a standard error of some 0.0003 bits per byte."""

RATE = {"cpu": 1200, "mps": 3500, "cuda": 3500}
"""Tokens that are scored at most for each second of the budget. On a CPU 24,000 after 20 s take
the seed some 0.7 s, and vary the difference of two models by some 0.0015 bits per byte. Elsewhere
2^20 after 300 s: at a vocabulary of 8,192 full rows of them are 34 GB, some 3 s of arithmetic on 16
cores, and moving them some ten more (a guess, for want of such a device)."""

TRAIN = 1 << 24
"""Training tokens that the reference counts at most: 2^24 take some 3 s, once in a process."""

PRIOR = 64.0
"""Weight of the unigram forecast in the bigram's, in tokens."""


@dataclass(frozen=True, slots=True)
class Windows:
    """N windows of held-out text: `inputs` and, one token later, `targets`, int32 [N, context].

    `sizes` are the raw bytes of the targets; separators have none and are not scored. `reference`
    is the bits that the targets cost under a bigram model of the training text. `train` is that
    text, uint16 [tokens].
    """

    inputs: NDArray[np.int32]
    targets: NDArray[np.int32]
    sizes: NDArray[np.int32]
    reference: NDArray[np.float64]
    train: NDArray[np.uint16]


def most(rung: Rung, lease: Slice) -> int:
    """Return how many tokens are scored at most at this rung on this slice."""
    return min(MOST, round(RATE[lease.kind] * rung.seconds))


@lru_cache(maxsize=4)
def held_text(name: str, digest: str, split: Split, most: int) -> Windows:  # noqa: ARG001 - see below
    """Return `most` tokens of a held-out part of corpus `name`. Raises SetupError without one.

    `digest` is the corpus's, so that another corpus of this name is not taken for one seen before.
    """
    corpus = open_corpus(name)
    inputs, targets = windows(corpus.tokens(split), corpus.context, most)
    train = corpus.tokens("train")
    reference = bigram(train[:TRAIN], inputs, targets, corpus.vocab)
    return Windows(inputs, targets, corpus.token_bytes[targets], reference, train)


def windows(
    tokens: NDArray[np.uint16], context: int, most: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return inputs and targets [N, context] of two windows or more, and about `most` tokens.

    Windows follow one another; where there are too many, some are left out all along the text.
    """
    there = (len(tokens) - 1) // context
    count = max(2, min(there, most // context))
    starts = context * (np.arange(count) * there // count)
    at = starts[:, None] + np.arange(context)
    return tokens[at].astype(np.int32), tokens[at + 1].astype(np.int32)


def bigram(
    train: NDArray[np.uint16], inputs: NDArray[np.int32], targets: NDArray[np.int32], vocab: int
) -> NDArray[np.float64]:
    """Return the bits that each target costs, given only its input, under counts of `train`."""
    singles = np.bincount(train, minlength=vocab)
    asked, where = np.unique(inputs.astype(np.int64) * vocab + targets, return_inverse=True)
    there = train[:-1].astype(np.int64) * vocab + train[1:]
    place = np.searchsorted(asked, there).clip(max=len(asked) - 1)
    pairs = np.bincount(place[asked[place] == there], minlength=len(asked))
    prior = (singles + 1) / (len(train) + vocab)
    first, second = np.divmod(asked, vocab)
    chance = (pairs + PRIOR * prior[second]) / (singles[first] + PRIOR)
    bits: NDArray[np.float64] = -np.log(chance)[where].reshape(targets.shape) / math.log(2)
    return bits
