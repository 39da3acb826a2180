"""Byte-pair encoding by rustbpe: always trained here, since rustbpe cannot load a tokenizer.

Training is deterministic: counts are sums, ties go to the smaller pair, and the number of threads
changes nothing (a test trains on one thread and on three).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise

import numpy as np
import rustbpe  # type: ignore[import-untyped]
from numpy.typing import NDArray

# rustbpe 0.1.0 takes time quadratic in the longest stretch that its pattern does not split (35 s
# for 100,000 spaces), and drops a stretch of about a million with only a log line.
_STRETCH = re.compile(r"\s{512}|\S{512}")


class Bpe:
    """A tokenizer trained on `texts`.

    `tokens[i]` is the raw bytes of token i. There are `vocab` tokens, or fewer if nothing is left
    to merge.
    """

    def __init__(self, texts: Iterable[str], vocab: int) -> None:
        self._tokenizer = rustbpe.Tokenizer()
        self._tokenizer.train_from_iterator(chain.from_iterable(map(_cut, texts)), vocab)
        self.tokens = [bytes(raw) for raw, _ in self._tokenizer.get_mergeable_ranks()]

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.uint16]]:
        """Return the tokens of each text, uint16[tokens]."""
        cuts = [_cut(text) for text in texts]
        encoded: Iterator[list[int]] = iter(
            self._tokenizer.batch_encode(list(chain.from_iterable(cuts)))
        )
        return [
            np.fromiter(chain.from_iterable(next(encoded) for _ in cut), dtype=np.uint16)
            for cut in cuts
        ]


def _cut(text: str) -> list[str]:
    """Split `text`, only inside stretches that are too long to encode."""
    ends = [0, *(match.end() for match in _STRETCH.finditer(text)), len(text)]
    return [text[start:end] for start, end in pairwise(ends) if start < end]
