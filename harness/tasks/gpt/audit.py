"""Asks for some of the answers again where nothing that could leak is present.

A model that forecasts token t + 1 from tokens 0..t of its own row gives the same answer whatever
stands behind t and in other rows. So a fresh box is asked some of the scored positions with the
prefix kept, the rest of the row replaced by training text, and other rows beside it. Questions come
in the order of their positions, and no window twice at once: the box never has seen a byte of what
it is asked to forecast. An answer that differs was made of something else than its prefix.

Half of the positions are drawn uniformly; they estimate what was gained by it in all. The others
are drawn in proportion to the gain over a bigram model, for that is where a peek pays.

Not covered:
- a peek that hardly pays where it is made, at fewer than one in some 400 positions, slips through
  512 spots about as often as not (through 4,096 one at fewer than one in some 3,000);
- the last target of a window begins the next one, which the box may have seen, if not as such;
- answers are compared by what their targets cost: what changes no score is not seen;
- the tolerances of "mps" and "cuda" are guesses, for want of such devices.
"""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.tasks.base import Confine, InvalidError
from harness.tasks.gpt.bits import bits
from harness.tasks.gpt.logits import Logits, Question, ScoredModel, ask
from harness.tasks.gpt.windows import Windows

TOLERANCE = {"cpu": 1e-3, "mps": 5e-2, "cuda": 5e-2}
"""Bits by which one honest answer may differ: kernels sum in another order at another length."""

GAIN = 1e-4
"""Bits a token that may be hidden in such differences, or four standard errors of them if more."""

_LEAK = (
    "only what follows them or stands in other rows is replaced: its model uses more than the "
    "tokens before"
)

_LENGTHS = 16  # different lengths of questions: short prefixes need no long rows

Spots = NDArray[np.intp]
"""Numbers of positions, counted through all windows."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found: the hidden gain is in bits a token, with its standard error."""

    spots: int
    hidden_gain: float
    hidden_gain_error: float


def audit(
    model: ScoredModel, text: Windows, cost: NDArray[np.float64], confine: Confine, seconds: float
) -> Audit:
    """Ask as many positions as the trial says again, which have cost `cost` [N, context] bits each.

    Raises InvalidError where an answer differs.
    """
    random = np.random.default_rng(secrets.randbits(128))
    uniform, keen = choose(text.reference - cost, model.trial.audit, random)
    batches = arrange(np.concatenate((uniform, keen)), model.context, model.rows)
    again = np.full(cost.size, np.nan)

    def take(i: int, logits: Logits) -> None:
        again[batches[i]] = bits(logits[: len(batches[i])], text.targets.ravel()[batches[i]])

    questions = [question(batch, text, model.rows, random) for batch in batches]
    ask(model, questions, confine, seconds, take)
    return _judge(again - cost.ravel(), uniform, TOLERANCE[model.trial.slice.kind])


def _judge(more: NDArray[np.float64], uniform: Spots, tolerance: float) -> Audit:
    """Judge how many bits `more` each answer cost the second time; nan where it was not asked."""
    asked = more[~np.isnan(more)]
    differ = int((np.abs(asked) > tolerance).sum())
    gain, error = more[uniform].mean(), more[uniform].std() / math.sqrt(len(uniform))
    if differ:
        raise InvalidError(f"{differ} of {len(asked)} audited forecasts change when {_LEAK}")
    if gain > max(GAIN, 4 * error):
        raise InvalidError(f"its forecasts get worse, each by a little, when {_LEAK}")
    return Audit(len(asked), float(gain), float(error))


def choose(
    gain: NDArray[np.float64], spots: int, random: np.random.Generator
) -> tuple[Spots, Spots]:
    """Draw two halves of `spots` positions: uniformly, and in proportion to `gain` above zero."""
    count = min(spots // 2, gain.size)
    weights = np.maximum(gain.ravel(), 0) + 1e-9  # so that there are always enough to draw from
    uniform = random.choice(gain.size, count, replace=False)
    keen = random.choice(gain.size, count, replace=False, p=weights / weights.sum())
    return uniform, keen


def arrange(spots: Spots, context: int, rows: int) -> list[Spots]:
    """Put positions into batches of at most `rows`, a window's short prefixes before its long ones.

    No window is in a batch twice.
    """
    batches: list[list[int]] = []
    last: dict[int, int] = {}
    free = 0
    for spot in sorted(np.unique(spots).tolist(), key=lambda spot: (spot % context, spot)):
        while free < len(batches) and len(batches[free]) == rows:
            free += 1
        i = max(free, last.get(spot // context, -1) + 1)
        while i < len(batches) and len(batches[i]) == rows:
            i += 1
        if i == len(batches):
            batches.append([])
        batches[i].append(spot)
        last[spot // context] = i
    return [np.array(batch, dtype=np.intp) for batch in batches]


def question(batch: Spots, text: Windows, rows: int, random: np.random.Generator) -> Question:
    """Return rows of training text that begin with the prefixes of the positions in `batch`.

    Each is asked for its position alone (a row beyond the batch, for another's). To know which that
    is helps no cheat: its answer of before was made of what is not here.
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
