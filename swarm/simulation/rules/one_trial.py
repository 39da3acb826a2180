"""A rule that keeps on the screening trial alone, as greedy search systems do."""

from __future__ import annotations

from dataclasses import dataclass

from islands.ratchet.acceptance import CandidateEvidence, Decision, screen_candidate
from islands.records import Gain


@dataclass(frozen=True, slots=True)
class OneTrialRule:
    """Keeps a candidate whose screened gain is above zero and reaches a margin.

    - `margin`: in standard deviations of a pair; 0 keeps any gain
    """

    margin: float

    def decide(self, evidence: CandidateEvidence) -> Decision:
        """Keep or discard; no fresh seed is ever asked for."""
        noise = evidence.noise
        screened = screen_candidate(evidence, self.margin * noise.pair)
        if screened.verdict == "discard":
            return screened
        return Decision("keep", screened.reason, Gain(evidence.screened, noise.pair, 1))
