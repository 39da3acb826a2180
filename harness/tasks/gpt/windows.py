"""Held-out text cut into windows: what the model is asked, and what the answers are scored on.

Windows do not overlap; each is forecast from its own start and nothing before it. Targets, byte
counts and reference never leave the trusted process. A trial is scored on windows that its seed
draws from the split, where there is more text than it takes: trials on one seed share them, so that
differences of scores are paired, and what a sandbox has seen is mostly not what the next one is
asked. Sandboxes know their seed, and cannot tell from it what is drawn.

Draws of the same size differ in difficulty, which would add to the spread of scores between seeds.
So windows are drawn from equal stretches of the text, and a score is corrected by what a bigram
model says of the draw. Of 187 windows of kjv, which trials of 20 s are scored on, the score of one
model of the seed genome varied by 0.0166 bits per byte between plain draws, 0.0126 between
stretches, 0.0033 with the correction too; the training seed makes 0.013 to 0.018. The difference of
two models on one draw varied by 0.0009.

Not covered: per-token claims. Where the full rows of a split are too much to move, fewer tokens are
scored, and the standard error grows; a genome's own number for its targets is never used.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from harness.contract import Rung, Slice, Split
from harness.data import Corpus, open_corpus
from harness.data.spec import SplitName

MAX_TOKENS = 1 << 21
"""Most tokens that are scored. A score's standard error falls with their square root: 2^20 have one
of about 0.0003 bits per byte, so 2^21 about 0.0002."""

TOKENS_PER_SECOND = {"cpu": 1200, "mps": 3500, "cuda": 3500}
"""Most tokens that are scored per second of the budget, by kind of device; on a CPU at depth 2 or
less, and fewer by the square of the depth beyond.

On a CPU 24,000 tokens after 20 s take the seed about 0.7 s, and the difference of two models varies
by about 0.0015 bits per byte. A token at depth 4 takes 6.6 times the arithmetic of one at depth 2:
as many a second there made scoring and audit longer than the training. On other devices 2^20 after
300 s, 2^21 from 600 s on: with a vocabulary of 8,192 the logits of 2^20 are 34 GB, about 3 s of
arithmetic on 16 cores, and moving them about ten more (a guess, not measured on such a device)."""

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
    level: by how much these windows are easier for the bigram model than all of the split's, in
        bits per byte; added to a score it makes scores on other windows comparable
    train: uint16[tokens], the training text
    """

    inputs: NDArray[np.int32]
    targets: NDArray[np.int32]
    sizes: NDArray[np.int32]
    reference: NDArray[np.float64]
    train: NDArray[np.uint16]
    level: float = 0.0

    def take(self, chosen: NDArray[np.intp]) -> Self:
        """Return the windows of these numbers."""
        sizes, reference = self.sizes[chosen], self.reference[chosen]
        return replace(
            self,
            inputs=self.inputs[chosen],
            targets=self.targets[chosen],
            sizes=sizes,
            reference=reference,
            level=_per_byte(self.reference, self.sizes) - _per_byte(reference, sizes),
        )


def max_scored_tokens(rung: Rung, lease: Slice) -> int:
    """Return the largest number of tokens to score at this rung on this slice."""
    share = (2 / max(2, rung.depth)) ** 2 if lease.kind == "cpu" else 1.0
    return min(MAX_TOKENS, round(share * TOKENS_PER_SECOND[lease.kind] * rung.seconds))


def held_text(corpus: Corpus, split: Split, max_tokens: int, seed: int) -> Windows:
    """Return windows of about `max_tokens` tokens of a held-out split, drawn by `seed`."""
    text = whole_text(corpus.name, corpus.digest, split)
    return text.take(drawn(len(text.inputs), max_tokens // corpus.context, _dice(corpus, seed)))


def drawn(available: int, wanted: int, random: np.random.Generator) -> NDArray[np.intp]:
    """Draw 2 or more of `available` numbers, in order: one from each of `wanted` equal stretches.

    So every draw has windows from all along the text, and draws differ little in difficulty.
    """
    count = max(2, min(available, wanted))
    ends = np.arange(count + 1) * available // count
    return random.integers(ends[:-1], ends[1:])


def _dice(corpus: Corpus, seed: int) -> np.random.Generator:
    """Return the generator that draws for `seed`, by a digest that no sandbox is given."""
    key = f"{corpus.digest}/{corpus.splits['sealed'].sha256}/{seed}"
    return np.random.default_rng([*hashlib.sha256(key.encode()).digest()])


@lru_cache(maxsize=4)
def whole_text(name: str, digest: str, split: SplitName) -> Windows:  # noqa: ARG001 - see below
    """Return all windows of a held-out split of corpus `name`.

    `digest` is the corpus's: it is part of the cache's key, so that another corpus of this name is
    read again. Raises SetupError if the corpus is not prepared.
    """
    corpus = open_corpus(name)
    inputs, targets = windows(corpus.tokens(split), corpus.context)
    train = corpus.tokens("train")
    reference = bigram(train[:MAX_REFERENCE_TOKENS], inputs, targets, corpus.vocab)
    return Windows(inputs, targets, corpus.token_bytes[targets], reference, train)


def windows(
    tokens: NDArray[np.uint16], context: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return inputs and targets, int32[N, context] each, of the windows that follow one another."""
    at = context * np.arange((len(tokens) - 1) // context)[:, None] + np.arange(context)
    return tokens[at].astype(np.int32), tokens[at + 1].astype(np.int32)


def _per_byte(bits: NDArray[np.float64], sizes: NDArray[np.int32]) -> float:
    return float(np.where(sizes > 0, bits, 0).sum() / max(1, sizes.sum()))


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
