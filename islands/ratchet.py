"""The rule of the ratchet: from paired scores to keep, discard or confirm. Pure, and all of it.

A candidate is screened by one trial on a seed that the head has a score for. If the paired gain
is beyond `screen` standard deviations of one paired difference, it is confirmed: candidate and
head are measured on fresh common seeds, and it is kept when the mean gain exceeds `margin`
standard errors. The screening trial selected the candidate, so it is never part of the evidence.
A candidate whose evidence turns against it is dropped before its last seed.

Screening at one sigma and confirming on three fresh seeds holds unreal keeps to about 5 % of all
keeps in simulation (10.2 accepted of which 0.53 unreal over 400 campaigns), where keep-if-lower
accepts a third.

Not covered: control of the error over a whole run; a second look at a kept change.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from harness.contract import Direction
from islands.guards import Guards
from islands.records import Gain, Verdict


@dataclass(frozen=True, slots=True)
class Rule:
    """What the user may set of the ratchet, see program.md's `ratchet`."""

    screen: float = 1.0
    margin: float = 2.0
    confirm_seeds: int = 3
    guards: Guards = Guards()


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
        weight = prior + self.freedom
        if weight == 0:
            return 0.0
        return math.sqrt((prior * 2 * self.sigma**2 + self.residual) / weight)


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict with its reason, and the gain on the evidence (None before there is any).

    A candidate that the screen ends has the screen's one pair for its gain.
    """

    verdict: Verdict
    reason: str
    gain: Gain | None = None


def signed(head: float, candidate: float, direction: Direction) -> float:
    """Return the gain of `candidate` over `head`: above zero is better, whatever the metric."""
    return head - candidate if direction == "minimize" else candidate - head


def spread(scores: Sequence[float]) -> float:
    """Return the standard deviation of baseline `scores` between seeds (0.0 for fewer than 2)."""
    return math.sqrt(variance(scores)) if len(scores) > 1 else 0.0


def judge(screened: float, pairs: Sequence[float], noise: Noise, rule: Rule) -> Decision:
    """Decide on the screening gain and the paired gains on fresh seeds measured so far."""
    if not pairs:
        needed = rule.screen * noise.pair
        if screened <= 0 or screened < needed:
            reason = f"screened at {screened:+.4g}, needs {needed:+.4g}"
            # one pair is no ground for keeping, but agents search better for knowing it
            return Decision("discard", reason, Gain(screened, noise.pair, 1))
        return Decision("confirm", f"screened at {screened:+.4g}")
    gain = weigh(pairs, noise)
    if gain.mean <= 0:
        return Decision("discard", f"no gain on {gain.pairs} fresh seeds", gain)
    if len(pairs) < rule.confirm_seeds:
        return Decision("confirm", f"{gain.mean:+.4g} on {gain.pairs} fresh seeds", gain)
    if gain.mean > rule.margin * gain.noise:
        return Decision("keep", f"gain {gain.mean:.4g} ± {gain.noise:.2g}", gain)
    return Decision("discard", f"near miss: {gain.mean:+.4g} ± {gain.noise:.2g}", gain)


def weigh(pairs: Sequence[float], noise: Noise) -> Gain:
    """Return the mean of `pairs` with its standard error, the spread pooled with the run's."""
    mean = fmean(pairs)
    own = sum((pair - mean) ** 2 for pair in pairs)
    pooled = Noise(noise.sigma, noise.seeds, noise.residual + own, noise.freedom + len(pairs) - 1)
    return Gain(mean, pooled.pair / math.sqrt(len(pairs)), len(pairs))


def seed_of(run: int, *path: str | int) -> int:
    """Derive a trial's seed (31 bits) from the run's and what it is for; nobody else's choice."""
    text = "/".join(map(str, (run, *path)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
