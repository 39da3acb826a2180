"""The rule of the ratchet: from paired scores to keep, discard or confirm. Pure, and all of it.

A candidate is screened by one trial on a seed that the head has a score for. What looks promising
buys fresh common seeds, candidate and head on each, one at a time, until its fate is clear: it is
dropped when more trials are expected to bring less than they do elsewhere, and kept once the
doubts of all that the run has kept, its own among them, stay below `fdr` on average. The doubt is
a local false sign rate under a distribution of gains that the run learns from its own screened
proposals (islands/ratchet/prior.py).
Keeping while the running mean of doubts is below the level holds the false discovery rate of the
whole run at that level, across islands and whenever one stops to look (Gang, Sun & Wang,
"Structure-adaptive sequential testing for online false discovery rate control", JASA 2021). The
screening trial selected the candidate, so it is never part of the evidence. A change that another
island kept was selected there: here every trial of it is evidence, the first as well.

`RULES` holds this rule, one that bets (islands/ratchet/evalue.py) and those that others use, for
comparison: `swarm simulate` runs them all.

Not covered: a second look at a kept change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

from harness.contract import Direction
from islands.ratchet.evalue import price, wealth
from islands.ratchet.guards import Guards
from islands.ratchet.prior import SURE, GainPrior
from islands.records import Gain, Verdict


@dataclass(frozen=True, slots=True)
class Rule:
    """What the user may set of the ratchet, see program.md's `ratchet`.

    `fdr` is the share of kept changes that may be worth nothing, `confirm_seeds` the fresh seeds
    that one candidate buys at most. With `fdr` at 0 nothing is learnt: a candidate must screen
    above `screen` standard deviations of a pair, and gain more than `margin` standard errors on
    all of `confirm_seeds`; with none to confirm on, it is kept as it was screened.
    `evidence` is what a keep must show: little enough doubt, or an e-value (`evalue.py`).
    `nulls` is the share of proposals that do nothing (islands/genome/null_edits.py), `sentinels`
    the trials
    that a slice runs from one sentinel to the next at most (0: none, see islands/drift.py).
    """

    fdr: float = 0.05
    confirm_seeds: int = 8
    screen: float = 1.0
    margin: float = 2.0
    guards: Guards = Guards()
    nulls: float = 0.0
    evidence: Literal["doubt", "e-value"] = "doubt"
    sentinels: int = 0


RULES: Mapping[str, Rule] = {
    "swarm": Rule(),
    "e-lond": Rule(evidence="e-value"),
    "three-seeds": Rule(fdr=0.0, confirm_seeds=3),
    "margin": Rule(fdr=0.0, confirm_seeds=0),
    "keep-if-better": Rule(fdr=0.0, confirm_seeds=0, screen=0.0),
}
"""Ours; bets, see islands/ratchet/evalue.py; three fresh seeds; one sigma on one seed; any gain at
all."""

SILENT = Rule(fdr=0.0, confirm_seeds=1)
"""How to judge where no score varies: any gain is one, and one fresh seed is enough to see it."""


FIRM = 6
"""Degrees of freedom, the candidate's own pairs among them, before which nothing is kept.

On a single pair it is SURE of them; all pairs that the user grants are enough in any case. Where
sigma is four median gains and most proposals harm, 5 of 11 keeps before the 25th trial were unreal
on two pairs beside the baseline's three degrees, and later 3 of 6 on a single pair beside six.
"""


NEAR_MISS = "near miss"
"""How the reason begins where a candidate is discarded that was not shown to be worse."""


@dataclass(frozen=True, slots=True)
class Noise:
    """What is known of a score's spread between seeds, in the metric's own unit.

    `sigma` is the standard deviation of the base's baseline scores over `seeds` seeds. `residual`
    is the sum of squares of paired differences around their means, over `freedom` degrees of
    freedom, gathered from every confirmation so far: pairs on common seeds vary less than
    independent scores do, and this is how the run learns by how much.
    """

    sigma: float
    seeds: int
    residual: float = 0.0
    freedom: int = 0

    @property
    def pair(self) -> float:
        """Return the standard deviation of one paired difference, pooled over all that is known."""
        prior = max(self.seeds - 1, 0)
        if self.known_by == 0:
            return 0.0
        return math.sqrt((prior * 2 * self.sigma**2 + self.residual) / self.known_by)

    @property
    def known_by(self) -> int:
        """Return the degrees of freedom that the spread of a pair is known by."""
        return max(self.seeds - 1, 0) + self.freedom


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict with its reason, and the gain on the evidence (None before there is any).

    A candidate that the screen ends has the screen's one pair for its gain.
    """

    verdict: Verdict
    reason: str
    gain: Gain | None = None


def gain_of(head: float, candidate: float, direction: Direction) -> float:
    """Return the gain of `candidate` over `head`: above zero is better, whatever the metric."""
    return head - candidate if direction == "minimize" else candidate - head


def spread(scores: Sequence[float]) -> float:
    """Return the standard deviation of baseline `scores` between seeds (0.0 for fewer than 2)."""
    if len(scores) <= 1:
        return 0.0
    mean = fmean(scores)
    return math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / (len(scores) - 1))


@dataclass(frozen=True, slots=True)
class KeepTally:
    """How many changes the run has kept, the sum of their doubts, and whose turn it is.

    `turn` counts, from 1, the candidates that the run has confirmed up to the one to be judged.
    """

    count: int = 0
    doubt: float = 0.0
    turn: int = 1


def judge(  # noqa: PLR0913, PLR0917 - the evidence, and all that it is weighed by
    screened: float,
    pairs: Sequence[float],
    noise: Noise,
    rule: Rule,
    belief: GainPrior,
    kept: KeepTally,
) -> Decision:
    """Decide on the screening gain and the paired gains on fresh seeds measured so far."""
    if not rule.fdr or noise.pair == 0:
        return fixed(screened, pairs, noise, rule if not rule.fdr else SILENT)
    if rule.evidence == "doubt" and not belief.screens:
        return _learnt([screened, *pairs], noise, rule, belief, kept)
    if not pairs:
        bar = belief.bar if rule.evidence == "doubt" else rule.screen
        return _screen(screened, bar * belief.unit * noise.pair, noise)
    if rule.evidence == "e-value":
        return _bet(pairs, noise, rule, kept)
    return _learnt(pairs, noise, rule, belief, kept)


def _learnt(
    pairs: Sequence[float], noise: Noise, rule: Rule, belief: GainPrior, kept: KeepTally
) -> Decision:
    own = weigh(pairs, noise)
    unit = own.noise * math.sqrt(own.pairs) * belief.unit
    opinion = belief.weigh(own.mean / unit, own.pairs, noise.known_by + own.pairs - 1)
    gain = Gain(opinion.gain * unit, opinion.error * unit, own.pairs, opinion.doubt)
    told = f"{opinion.doubt:.0%} doubt on {own.pairs} {'pair' if own.pairs == 1 else 'pairs'}"
    known = noise.known_by + own.pairs - 1
    sure = known >= (SURE if own.pairs == 1 else FIRM) or own.pairs >= rule.confirm_seeds
    if sure and (kept.doubt + opinion.doubt) / (kept.count + 1) <= rule.fdr and gain.mean > 0:
        return Decision("keep", told, gain)
    if own.mean <= 0 or opinion.worth <= 0:
        return Decision("discard", f"no gain: {told}", gain)
    if len(pairs) >= rule.confirm_seeds:
        return Decision("discard", f"{NEAR_MISS}: {told}", gain)
    return Decision("confirm", told)


def _bet(pairs: Sequence[float], noise: Noise, rule: Rule, kept: KeepTally) -> Decision:
    gain = weigh(pairs, noise)
    reached = wealth(gain.mean / noise.pair, gain.pairs)
    needed = price(rule.fdr, kept.turn, kept.count)
    told = f"e-value {reached:.3g} of {needed:.3g} on {gain.pairs} fresh seeds"
    if reached >= needed:
        return Decision("keep", told, gain)
    if gain.mean <= 0:
        return Decision("discard", f"no gain: {told}", gain)
    if len(pairs) >= rule.confirm_seeds:
        return Decision("discard", f"{NEAR_MISS}: {told}", gain)
    return Decision("confirm", told)


def _screen(screened: float, needed: float, noise: Noise) -> Decision:
    if screened <= 0 or screened < needed:
        reason = f"screened below {needed:+.4g}"
        # one pair is no ground for keeping, but agents search better for knowing it
        return Decision("discard", reason, Gain(screened, noise.pair, 1))
    return Decision("confirm", f"screened above {needed:+.4g}")


def fixed(screened: float, pairs: Sequence[float], noise: Noise, rule: Rule) -> Decision:
    """Decide by `rule`'s fixed margins, as other systems do."""
    if not pairs:
        decision = _screen(screened, rule.screen * noise.pair, noise)
        if decision.verdict == "confirm" and not rule.confirm_seeds:
            return Decision("keep", decision.reason, Gain(screened, noise.pair, 1))
        return decision
    gain = weigh(pairs, noise)
    if gain.mean <= 0:
        return Decision("discard", f"no gain on {gain.pairs} fresh seeds", gain)
    if len(pairs) < rule.confirm_seeds:
        return Decision("confirm", f"better on {gain.pairs} fresh seeds", gain)
    if gain.mean > rule.margin * gain.noise:
        return Decision("keep", f"better on {gain.pairs} fresh seeds", gain)
    return Decision("discard", f"{NEAR_MISS} on {gain.pairs} fresh seeds", gain)


def weigh(pairs: Sequence[float], noise: Noise) -> Gain:
    """Return the mean of `pairs` with its standard error, the spread pooled with the run's."""
    mean = fmean(pairs)
    own = sum((pair - mean) ** 2 for pair in pairs)
    freedom = noise.freedom + len(pairs) - 1
    pooled = replace(noise, residual=noise.residual + own, freedom=freedom)
    return Gain(mean, pooled.pair / math.sqrt(len(pairs)), len(pairs))
