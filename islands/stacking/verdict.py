"""Verdict of a stack check: which parts stay, what to measure next, and what the whole comes to.

After the design, arms go where the remaining models disagree most, or where a part may not be
missed, until the budget is spent. Then parts that are probably not missed are dropped one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from islands.events import StackVerdict
from islands.records import Gain
from islands.stacking.design import Arm, Fault, Parts, halves
from islands.stacking.inference import NEGLIGIBLE, Evidence, Worth

DROP_CHANCE = 0.35
"""A part that is not missed with at least this chance is dropped: simpler is better."""

_EQUAL_CHANCE = 0.02
"""Chances that differ by less are taken as equal."""

MIN_EFFECT = 2.2
"""Standard errors that a part of a faulty pair must be worth to be told from nothing."""

Fit = Callable[[Parts], Parts]
"""Returns the parts of a combination that apply on one base together, as far as is known."""


def everything(parts: Parts) -> Parts:
    """Return all of `parts`: a `Fit` without conflicts."""
    return parts


def survivors(evidence: Evidence, whole: Parts, fit: Fit = everything) -> Parts:
    """Return what stays of `whole` after the parts that are probably not missed are dropped.

    They are dropped one by one, the least missed first. What does not apply without a dropped part
    is dropped with it, if neither is missed.
    """
    stay = whole
    while len(stay) > 1:
        chances = {n: evidence.worth(stay, fit(stay - {n})).negligible for n in sorted(stay)}
        most = max(chances.values())
        # of two that ruin each other neither is missed: the one goes whose loss leaves more
        least = max(
            (n for n in chances if chances[n] > most - _EQUAL_CHANCE),
            key=lambda n: evidence.worth(fit(stay - {n})).mean,
        )
        if chances[least] < DROP_CHANCE or not fit(stay - {least}):
            break
        stay = fit(stay - {least})
    return stay


def next_arm(evidence: Evidence, whole: Parts, block: int, fit: Fit = everything) -> Arm | None:
    """Return the most informative arm to measure next in `block`, None if none tells enough."""
    stay, measured = survivors(evidence, whole, fit), set(evidence.arms)
    numbers = [number for number in evidence.numbers if number in whole]
    tries = halves(numbers)
    tries += [*(whole - half for half in tries), whole, stay]
    tries += [arm for n in sorted(whole) for arm in (stay ^ {n}, whole - {n}, frozenset({n}))]
    for fault in sorted({f for m in evidence.models for f in m.faults if len(f) > 1}):
        tries += [frozenset(fault), whole - set(fault)]
    arms = dict.fromkeys(Arm(fit(parts), block) for parts in tries)
    options = [arm for arm in arms if arm not in measured]
    return evidence.telling(whole, stay, options) if options else None


@dataclass(frozen=True, slots=True)
class Judgement:
    """Result of a check, with gains in the unit of the parts' own.

    The fields are those of events.StackCheckEnded.
    """

    verdict: StackVerdict
    stay: Parts
    culprits: tuple[Fault, ...]
    blame: tuple[Gain, ...]
    expected: Gain
    observed: Gain
    interaction: Gain
    gain: Gain


def judge(evidence: Evidence, whole: Parts, fit: Fit = everything) -> Judgement:
    """Return the verdict on the parts of `whole`, by what has been measured."""
    stay, culprits = survivors(evidence, whole, fit), evidence.culprits()
    pairs = len(evidence.arms)
    blame = tuple(_gain(evidence.blame(fault), pairs) for fault in culprits)
    claims = [part.gain for part in evidence.parts if part.number in whole]
    noise = math.sqrt(math.fsum(gain.noise**2 for gain in claims))
    count = sum(gain.pairs for gain in claims)
    expected = Gain(math.fsum(gain.mean for gain in claims), noise, count)
    observed = _gain(evidence.measured(whole), pairs)
    interaction = Gain(observed.mean - expected.mean, math.hypot(observed.noise, noise), pairs)
    return Judgement(
        verdict=_verdict(evidence, whole, [f for f in culprits if evidence.blame(f).mean < 0]),
        stay=stay,
        culprits=tuple(culprits),
        blame=blame,
        expected=expected,
        observed=observed,
        interaction=interaction,
        gain=_gain(evidence.worth(stay), pairs),
    )


def _verdict(evidence: Evidence, whole: Parts, against: Sequence[Fault]) -> StackVerdict:
    """Return the verdict on the whole; `against` are the faults that lower it."""
    if not against:
        return "additive"
    parts = sorted({number for fault in against for number in fault})
    # What each faulty part adds to the whole: below zero it harms, near zero it is not missed.
    worths = [evidence.worth(whole, whole - {number}) for number in parts]
    if any(worth.mean < -max(NEGLIGIBLE, MIN_EFFECT * worth.error) for worth in worths):
        return "antagonistic"
    pair = any(len(fault) > 1 for fault in against)
    unmissed = any(worth.mean <= max(NEGLIGIBLE, MIN_EFFECT * worth.error) for worth in worths)
    return "redundant" if pair and unmissed else "short"


def _gain(worth: Worth, pairs: int) -> Gain:
    return Gain(worth.mean, worth.error, pairs)
