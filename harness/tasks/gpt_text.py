"""Held-out text as questions and answers: the gpt task's dev part, cut into windows.

Windows do not overlap; each is forecast from its own start and nothing before it. Neither targets
nor sizes nor the reference ever leave the trusted process.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harness.contract import Rung, Slice
from harness.data import open_corpus

MOST = 1 << 20
"""Tokens that are scored at most: 2^20 have a standard error of some 0.0003 bits per byte."""

CPU_MOST = 1200
"""Tokens that a CPU scores at most for each second of the budget: 24,000 after 20 s take the seed
some 0.7 s, and vary the difference of two models by some 0.0015 bits per byte."""

TRAIN = 1 << 24
"""Training tokens that the reference counts at most: 2^24 take some 3 s, once in a process."""

PRIOR = 64.0
"""Weight of the unigram forecast in the bigram's, in tokens."""


@dataclass(frozen=True, slots=True)
class Text:
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
    return min(MOST, round(CPU_MOST * rung.seconds)) if lease.kind == "cpu" else MOST


@lru_cache(maxsize=4)
def dev_text(name: str, digest: str, most: int) -> Text:  # noqa: ARG001 - it makes the cache right
    """Return `most` tokens of the dev part of corpus `name`. Raises SetupError if there is none."""
    corpus = open_corpus(name)
    inputs, targets = windows(corpus.part("dev"), corpus.context, most)
    train = corpus.part("train")
    reference = bigram(train[:TRAIN], inputs, targets, corpus.vocab)
    return Text(inputs, targets, corpus.token_bytes[targets], reference, train)


def windows(
    tokens: NDArray[np.uint16], context: int, most: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return inputs and targets [N, context] of at least one window and about `most` tokens.

    Windows follow one another; where there are too many, some are left out all along the text.
    """
    there = (len(tokens) - 1) // context
    count = max(1, min(there, most // context))
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
