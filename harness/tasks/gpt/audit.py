"""Look-ahead audit: scores sampled positions again with everything after them replaced.

A model that forecasts token t + 1 from tokens 0..t of its own row gives the same answer whatever
follows t and whatever other rows hold. So a fresh sandbox is asked some of the scored positions
again: with the prefix kept, the rest of the row replaced by training text, and other rows beside
it. Questions come in the order of their positions, and no window twice at once, so the sandbox has
never seen a byte of what it is asked to forecast. A changed answer depended on more than its
prefix.

Half of the positions are drawn uniformly; they estimate the total gain by look-ahead. The others
are drawn in proportion to the gain over a bigram model, which is where look-ahead pays: one worth x
bits a token is drawn by a share x / (x + 0.75) of them (0.75: what the seed genome gains after 10 s
at those tokens where it gains anything), however few positions it is used at.

Each position takes a row, of half the context on average. Outside of promotions there are two for
each scored window, 512 at most, so that an audit takes about the CPU time of its score: 186 in a
10 s trial of kjv, where 512 took more than twice that. They are enough for what can be kept: of
look-ahead that makes a gain of 0.01 bits per byte, the least that trials of 10 s can establish,
thus of 0.03 bits a token, one trial's audit misses one in 40, those of four pairs one in two
million; of one that a single pair can establish, 0.05, one in 20 million. A screen is no
evidence for a keep, and before a keep the gain must be there on fresh text, which is asked for
without what follows it (`harness.tasks.gpt.fresh`).

Not covered:
- look-ahead that hardly pays where it is used, at fewer than one in some 400 positions, passes 512
  positions about as often as not (186: at fewer than one in some 130; 4,096: in some 3,000);
- the last target of a window begins the next window, which the sandbox may have seen, though not
  as such;
- answers are compared by what their targets cost: a change that affects no score is not seen;
- the tolerances of "mps" and "cuda" are guesses, not measured on such devices.
"""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.contract import FULL_AUDIT, SCREENING_AUDIT
from harness.tasks.base import Confine, InvalidError
from harness.tasks.gpt.bits import bits
from harness.tasks.gpt.logits import Logits, Question, ScoredModel, ask
from harness.tasks.gpt.windows import Windows

TOLERANCE_BITS = {"cpu": 1e-3, "mps": 5e-2, "cuda": 5e-2}
"""Bits by which an honest answer may differ: kernels sum in another order at another length."""

MIN_HIDDEN_GAIN_BITS = 1e-4
"""Mean gain, in bits a token, allowed in such differences (or four standard errors, if more)."""

_LEAK = (
    "only what follows them or is in other rows is replaced: its model uses more than the "
    "tokens before"
)

PER_WINDOW = 2
"""Most positions that are audited for each scored window, outside of promotions."""

_LENGTHS = 16  # distinct lengths of questions, so that short prefixes need no long rows

Positions = NDArray[np.intp]
"""Positions, numbered through all windows."""


@dataclass(frozen=True, slots=True)
class Audit:
    """The result of an audit without look-ahead.

    positions: how many were scored again
    hidden_gain: estimated mean gain by look-ahead, in bits a token
    hidden_gain_error: its standard error
    """

    positions: int
    hidden_gain: float
    hidden_gain_error: float


def audit_effort(positions: int) -> float:
    """Return how many times a score's wall and CPU time an audit of so many positions may take.

    It asks for a row for each: a full one for a million tokens. Who trains meanwhile gains nothing,
    since its answers must be those that were scored.
    """
    return max(1.0, positions / SCREENING_AUDIT)


def audit(
    model: ScoredModel, text: Windows, cost: NDArray[np.float64], confine: Confine, seconds: float
) -> Audit:
    """Score positions again, as many as the trial says or as there is reason for.

    `cost`, float64[N, context], is what each position cost in bits the first time. Raises
    InvalidError if an answer changes.
    """
    random = np.random.default_rng(secrets.randbits(128))
    size = audit_size(model.trial.audit, len(cost))
    uniform, weighted = choose(text.reference - cost, size, random)
    batches = arrange(np.concatenate((uniform, weighted)), model.context, model.rows)
    again = np.full(cost.size, np.nan)

    def take(i: int, logits: Logits) -> None:
        again[batches[i]] = bits(logits[: len(batches[i])], text.targets.ravel()[batches[i]])

    questions = [question(batch, text, model.rows, random) for batch in batches]
    ask(model, questions, confine, seconds, take, effort=audit_effort(model.trial.audit))
    return _judge(again - cost.ravel(), uniform, TOLERANCE_BITS[model.trial.slice.kind])


def _judge(rise: NDArray[np.float64], uniform: Positions, tolerance: float) -> Audit:
    """Judge the `rise` in cost of each answer, in bits; nan for positions not asked again."""
    audited = rise[~np.isnan(rise)]
    differ = int((np.abs(audited) > tolerance).sum())
    gain, error = rise[uniform].mean(), rise[uniform].std() / math.sqrt(len(uniform))
    if differ:
        raise InvalidError(f"{differ} of {len(audited)} audited forecasts change when {_LEAK}")
    if gain > max(MIN_HIDDEN_GAIN_BITS, 4 * error):
        raise InvalidError(f"its forecasts get worse, each by a little, when {_LEAK}")
    return Audit(len(audited), float(gain), float(error))


def audit_size(positions: int, windows: int) -> int:
    """Return how many positions of `windows` are audited where the trial says `positions`."""
    return positions if positions >= FULL_AUDIT else min(positions, PER_WINDOW * windows)


def choose(
    gain: NDArray[np.float64], count: int, random: np.random.Generator
) -> tuple[Positions, Positions]:
    """Draw half of `count` positions uniformly, half in proportion to `gain` above zero."""
    half = min(count // 2, gain.size)
    weights = np.maximum(gain.ravel(), 0) + 1e-9  # so that there are always enough to draw
    uniform = random.choice(gain.size, half, replace=False)
    weighted = random.choice(gain.size, half, replace=False, p=weights / weights.sum())
    return uniform, weighted


def arrange(positions: Positions, context: int, rows: int) -> list[Positions]:
    """Return the positions in batches of at most `rows`, a window's short prefixes first.

    No window is in a batch twice.
    """
    batches: list[list[int]] = []
    last: dict[int, int] = {}
    free = 0  # the first batch that is not full
    for position in sorted(np.unique(positions).tolist(), key=lambda at: (at % context, at)):
        while free < len(batches) and len(batches[free]) == rows:
            free += 1
        i = max(free, last.get(position // context, -1) + 1)
        while i < len(batches) and len(batches[i]) == rows:
            i += 1
        if i == len(batches):
            batches.append([])
        batches[i].append(position)
        last[position // context] = i
    return [np.array(batch, dtype=np.intp) for batch in batches]


def question(batch: Positions, text: Windows, rows: int, random: np.random.Generator) -> Question:
    """Return rows of training text that begin with the prefixes of the positions in `batch`.

    Each row is asked for its position alone; rows beyond the batch repeat its positions. Knowing
    which position is asked helps no cheat: its first answer was made of text that is not here.
    """
    context = text.inputs.shape[1]
    window, at = np.divmod(batch, context)
    step = math.ceil(context / _LENGTHS)
    length = min(context, step * math.ceil((int(at.max()) + 1) / step))
    starts = random.integers(len(text.train) - length, size=rows)
    tokens = np.stack([text.train[s : s + length] for s in starts]).astype(np.int32)
    for row, (w, t) in enumerate(zip(window, at, strict=True)):
        tokens[row, : t + 1] = text.inputs[w, : t + 1]
    return Question(tokens, np.resize(at, rows).astype(np.int32))
