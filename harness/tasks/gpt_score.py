"""Bits per byte of held-out text, from logits, in numpy: the arithmetic of the gpt task's score.

The text is cut into windows that do not overlap; each is forecast from its own start and nothing
before it. Exponentials are float32, sums float64: the error is below 1e-6 bits a token.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.tasks.base import InvalidError

MOST = 1 << 20
"""Tokens of a held-out part that are scored: the standard error at 2^20 is some 0.0003 bpb."""

_CHUNK = 128  # positions at a time: at a vocabulary of 1,024 half a MiB, which stays in the cache


@dataclass(frozen=True, slots=True)
class Windows:
    """Held-out text as questions and their answers, both [N, context] int32."""

    inputs: NDArray[np.int32]
    targets: NDArray[np.int32]


def windows(tokens: NDArray[np.uint16], context: int) -> Windows:
    """Cut the start of `tokens` (at most MOST of them) into windows that do not overlap.

    Each target is the token after its input, so the last token of all is a target only.
    """
    count = (min(len(tokens), MOST + 1) - 1) // context
    flat = tokens[: count * context + 1].astype(np.int32)
    return Windows(flat[:-1].reshape(count, context), flat[1:].reshape(count, context))


def bits(logits: NDArray[np.float32], targets: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the bits [...] that each of `targets` [...] costs under `logits` [..., vocab].

    Raises InvalidError where a logit is not a finite number.
    """
    flat, wanted = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
    nats = np.empty(targets.size)
    for i in range(0, targets.size, _CHUNK):
        nats[i : i + _CHUNK] = _nats(flat[i : i + _CHUNK], wanted[i : i + _CHUNK])
    return nats.reshape(targets.shape) / math.log(2)


def _nats(logits: NDArray[np.float32], targets: NDArray[np.int32]) -> NDArray[np.float64]:
    top = logits.max(axis=1, keepdims=True)
    if not (np.isfinite(top).all() and np.isfinite(logits.min())):
        raise InvalidError("its model answered with logits that are not finite numbers")
    total = np.exp(logits - top).sum(axis=1, dtype=np.float64)
    chosen = np.take_along_axis(logits, targets[:, None], axis=1)
    nats: NDArray[np.float64] = np.log(total) + (top - chosen)[:, 0]
    return nats


def shuffled(count: int, rows: int, random: np.random.Generator) -> Iterator[NDArray[np.intp]]:
    """Yield the windows' numbers in random order, `rows` at a time; the last are filled up.

    Fillers are other windows, so that every question has the same shape.
    """
    order = random.permutation(count)
    whole = np.resize(order, -(-count // rows) * rows)
    yield from whole.reshape(-1, rows)
