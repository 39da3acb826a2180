"""From logits to bits: the arithmetic of the gpt task's score, in numpy.

Exponentials are float32, sums and logarithms float64: the error is below 1e-6 bits a token.
"""

from __future__ import annotations

import math
import secrets
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from harness.cpus import usable_cores
from harness.tasks.base import Confine, InvalidError
from harness.tasks.gpt.logits import Logits, Question, ScoredModel, ask
from harness.tasks.gpt.windows import Windows

_CHUNK_BYTES = 1 << 19  # of logits that a thread works on at a time; they stay in its cache


def score(
    model: ScoredModel, text: Windows, confine: Confine, seconds: float
) -> tuple[NDArray[np.float64], float]:
    """Return the bits of each target, float64[N, context], and the seconds to the first question.

    Windows are asked in an order that no genome can predict, so that a window's neighbours in a
    batch tell nothing. Its first answer counts: those that fill the last batch are asked twice, and
    a model may remember. Raises InvalidError if the answers are not a forecast.
    """
    random = np.random.default_rng(secrets.randbits(128))
    batches = shuffled(len(text.inputs), model.rows, random)
    cost = np.full(text.targets.shape, np.nan)

    def take(i: int, logits: Logits) -> None:
        batch, spent = batches[i], bits(logits, text.targets[batches[i]])
        first = np.isnan(cost[batch, 0])
        cost[batch[first]] = spent[first]

    questions = [Question(text.inputs[batch]) for batch in batches]
    start = ask(model, questions, confine, seconds, take)
    return cost, start


def shuffled(count: int, rows: int, random: np.random.Generator) -> NDArray[np.intp]:
    """Return the numbers 0..count - 1 in random order, in batches: intp[B, rows].

    Some repeat to fill the last batch, since all questions have one shape.
    """
    return np.resize(random.permutation(count), (-(-count // rows), rows))


def bits(logits: Logits, targets: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the bits of each of `targets` [...] under `logits` [..., vocab].

    Raises InvalidError if a logit is not finite.
    """
    flat, flat_targets = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
    nats = np.empty(targets.size)
    step = max(1, _CHUNK_BYTES // (4 * logits.shape[-1]))

    def work(start: int) -> None:
        chunk = slice(start, start + step)
        nats[chunk] = _nats(flat[chunk], flat_targets[chunk])

    with ThreadPoolExecutor(len(usable_cores())) as pool:  # numpy releases the GIL
        list(pool.map(work, range(0, targets.size, step)))
    return nats.reshape(targets.shape) / math.log(2)


def bits_per_byte(cost: NDArray[np.float64], sizes: NDArray[np.int32]) -> tuple[float, float]:
    """Return the ratio of bits `cost` [N, context] to bytes `sizes`, and its standard error.

    Targets without bytes are left out. The error is that of a ratio estimate (Cochran, Sampling
    Techniques, section 2.11) over N > 1 windows, since tokens of one window are correlated.
    """
    spent, read = np.where(sizes > 0, cost, 0).sum(axis=1), sizes.sum(axis=1)
    ratio = spent.sum() / read.sum()
    error = math.sqrt(len(read) * (spent - ratio * read).var(ddof=1)) / read.sum()
    return float(ratio), float(error)


def _nats(logits: Logits, targets: NDArray[np.int32]) -> NDArray[np.float64]:
    top = logits.max(axis=1, keepdims=True)
    if not (np.isfinite(top).all() and np.isfinite(logits.min())):
        raise InvalidError("its model answered with logits that are not finite numbers")
    with np.errstate(over="ignore"):  # terms that far below the top are zero
        total = np.exp(logits - top).sum(axis=1, dtype=np.float64)
    chosen = np.take_along_axis(logits, targets[:, None], axis=1)
    nats: NDArray[np.float64] = np.log(total) + (top.astype(np.float64) - chosen)[:, 0]
    return nats
