"""The decision on one candidate: the evidence it rests on, the verdict, and the rules' interface.

A rule is pure: it depends on nothing but the evidence. The product's rule is
islands/ratchet/lfsr.py, or islands/ratchet/fixed_margin.py where program.md sets `fdr: 0`; rules of
other systems stand in swarm/simulation/rules/.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from islands.ratchet.noise import Noise
from islands.ratchet.prior import GainPrior
from islands.records import Gain, Verdict

NEAR_MISS = "near miss"
"""How the reason begins where a candidate is discarded that was not shown to be worse."""


@dataclass(frozen=True, slots=True)
class KeepTally:
    """The run's keeps so far, as a rule needs them to bound the share of false ones.

    - `count`: changes that the run has kept
    - `lfsr_sum`: sum of their lfsr (see islands/ratchet/lfsr.py)
    - `turn`: which candidate of the run to be confirmed this one is, from 1
    - `gain_sum`: sum of their gains
    """

    count: int = 0
    lfsr_sum: float = 0.0
    turn: int = 1
    gain_sum: float = 0.0

    def plus(self, gain: Gain) -> KeepTally:
        """Return the tally with one more change."""
        return KeepTally(
            self.count + 1, self.lfsr_sum + gain.lfsr, gain_sum=self.gain_sum + gain.mean
        )

    def less(self, gains: Sequence[Gain]) -> KeepTally:
        """Return the tally without changes that were counted."""
        return KeepTally(
            self.count - len(gains),
            self.lfsr_sum - math.fsum(gain.lfsr for gain in gains),
            gain_sum=self.gain_sum - math.fsum(gain.mean for gain in gains),
        )


@dataclass(frozen=True, slots=True)
class CandidateEvidence:
    """All that a verdict on one candidate may rest on. Gains are in the metric's unit.

    - `screened`: gain of the screening trial, on a seed that the head had a score for
    - `pairs`: gains on fresh common seeds so far, one a pair of trials
    - `noise`: what the run knows of the spread between seeds
    - `prior`: distribution of true gains, learned from the run's screens
    - `kept`: what the run has kept so far
    - `steady`: whether the slice measures as it did, so that the noise is what it was
    - `restless`: whether the slice's level moved, or seemed to, in the latest trials
    - `doubt`: by how much its level was seen to move beside the screen
    """

    screened: float
    pairs: Sequence[float]
    noise: Noise
    prior: GainPrior
    kept: KeepTally
    steady: bool = True
    restless: bool = False
    doubt: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict with its reason, and the gain on the evidence (None before there is any).

    A candidate that the screen ends has the screen's one pair for its gain. `simpler`: it is kept
    because it is shorter and no worse (islands/ratchet/simpler.py).
    """

    verdict: Verdict
    reason: str
    gain: Gain | None = None
    simpler: bool = False


class AcceptanceRule(Protocol):
    """Decides whether a candidate is kept, discarded, or measured on one more fresh seed."""

    def decide(self, evidence: CandidateEvidence) -> Decision:
        """Return the verdict on the screening gain and the pairs measured so far."""
        ...


def screen_candidate(evidence: CandidateEvidence, threshold: float) -> Decision:
    """Return "confirm" where the screened gain is above zero and reaches `threshold`, or may."""
    screened, noise = evidence.screened, evidence.noise
    error = math.hypot(noise.pair, evidence.doubt)
    if evidence.doubt:
        threshold *= error / noise.pair
    if screened > noise.floor and screened >= threshold:
        return Decision("confirm", f"screened above {threshold:+.4g}")
    # one pair is no ground for keeping, but agents search better for knowing it
    gain = Gain(screened, error, 1)
    return Decision("discard", f"screened below {threshold:+.4g}", gain)
