"""Held-out text cut into windows: what the model is asked, and what the answers are scored on.

Windows do not overlap; each is forecast from its own start and nothing before it. Targets, byte
counts and reference never leave the trusted process. A trial is always scored on the same windows
of its split, so that differences of scores are paired.

Not covered: per-token claims. Where the full rows of a split are too much to move, fewer tokens are
scored, and the standard error grows; a genome's own number for its targets is never used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harness.contract import Rung, Slice, Split
from harness.data import open_corpus

MAX_TOKENS = 1 << 20
"""Most tokens that are scored: 2^20 have a standard error of about 0.0003 bits per byte."""

TOKENS_PER_SECOND = {"cpu": 1200, "mps": 3500, "cuda": 3500}
"""Most tokens that are scored per second of the budget, by kind of device.

On a CPU 24,000 tokens after 20 s take the seed about 0.7 s, and the difference of two models varies
by about 0.0015 bits per byte. On other devices 2^20 after 300 s: with a vocabulary of 8,192 their
logits are 34 GB, about 3 s of arithmetic on 16 cores, and moving them about ten more (a guess, not
measured on such a device)."""

MAX_REFERENCE_TOKENS = 1 << 24
"""Most training tokens that the reference counts: 2^24 take about 3 s, once a process."""

PRIOR_TOKENS = 64.0
"""Weight of the unigram forecast in the bigram's, in tokens."""


@dataclass(frozen=True, slots=True)
class Windows:
    """N windows of held-out text.

    inputs: int32[N, context], tokens
    targets: int32[N, context], the tokens that follow them
    sizes: int32[N, context], raw bytes of each target; separators have none and are not scored
    reference: float64[N, context], bits of each target under a bigram model of the training text
    train: uint16[tokens], the training text
    """

    inputs: NDArray[np.int32]
    targets: NDArray[np.int32]
    sizes: NDArray[np.int32]
    reference: NDArray[np.float64]
    train: NDArray[np.uint16]


def max_scored_tokens(rung: Rung, lease: Slice) -> int:
    """Return the largest number of tokens to score at this rung on this slice."""
    return min(MAX_TOKENS, round(TOKENS_PER_SECOND[lease.kind] * rung.seconds))


@lru_cache(maxsize=4)
def held_text(name: str, digest: str, split: Split, max_tokens: int) -> Windows:  # noqa: ARG001 - see below
    """Return windows of `max_tokens` tokens of a held-out split of corpus `name`.

    `digest` is the corpus's: it is part of the cache's key, so that another corpus of this name is
    read again. Raises SetupError if the corpus is not prepared.
    """
    corpus = open_corpus(name)
    inputs, targets = windows(corpus.tokens(split), corpus.context, max_tokens)
    train = corpus.tokens("train")
    reference = bigram(train[:MAX_REFERENCE_TOKENS], inputs, targets, corpus.vocab)
    return Windows(inputs, targets, corpus.token_bytes[targets], reference, train)


def windows(
    tokens: NDArray[np.uint16], context: int, max_tokens: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return inputs and targets, int32[N, context] each, of about `max_tokens` tokens, N >= 2.

    Windows follow one another; if there are too many, evenly spaced ones are used.
    """
    available = (len(tokens) - 1) // context
    count = max(2, min(available, max_tokens // context))
    starts = context * (np.arange(count) * available // count)
    at = starts[:, None] + np.arange(context)
    return tokens[at].astype(np.int32), tokens[at + 1].astype(np.int32)


def bigram(
    train: NDArray[np.uint16], inputs: NDArray[np.int32], targets: NDArray[np.int32], vocab: int
) -> NDArray[np.float64]:
    """Return the bits of each target given its input alone, by counts in `train`."""
    singles = np.bincount(train, minlength=vocab)
    pairs, pair_of = np.unique(inputs.astype(np.int64) * vocab + targets, return_inverse=True)
    seen = train[:-1].astype(np.int64) * vocab + train[1:]
    place = np.searchsorted(pairs, seen).clip(max=len(pairs) - 1)
    counts = np.bincount(place[pairs[place] == seen], minlength=len(pairs))
    prior = (singles + 1) / (len(train) + vocab)
    first, second = np.divmod(pairs, vocab)
    chance = (counts + PRIOR_TOKENS * prior[second]) / (singles[first] + PRIOR_TOKENS)
    bits: NDArray[np.float64] = -np.log(chance)[pair_of].reshape(targets.shape) / math.log(2)
    return bits
