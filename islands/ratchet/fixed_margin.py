"""A rule with fixed margins that learns nothing: program.md's `fdr: 0`, and noiseless metrics."""

from __future__ import annotations

from dataclasses import dataclass

from islands.ratchet.acceptance import NEAR_MISS, CandidateEvidence, Decision, screen_candidate
from islands.ratchet.noise import weigh


@dataclass(frozen=True, slots=True)
class FixedMarginRule:
    """Keeps what screens well and gains more than a margin on a fixed number of fresh seeds.

    - `max_pairs`: fresh seeds, all of which a keep needs
    - `screen_sds`: screened gain needed to be confirmed, in standard deviations of a pair
    - `margin`: mean gain needed to be kept, in standard errors
    """

    max_pairs: int = 8
    screen_sds: float = 1.0
    margin: float = 2.0

    def decide(self, evidence: CandidateEvidence) -> Decision:
        """Discard at the first mean that is no gain; keep on all pairs or not at all."""
        pairs, noise = evidence.pairs, evidence.noise
        if not pairs:
            return screen_candidate(evidence, self.screen_sds * noise.pair)
        gain = weigh(pairs, noise)
        seeds = f"{gain.pairs} fresh {'seed' if gain.pairs == 1 else 'seeds'}"
        if gain.mean <= noise.floor:
            return Decision("discard", f"no gain on {seeds}", gain)
        if len(pairs) < self.max_pairs:
            return Decision("confirm", f"better on {seeds}", gain)
        if gain.mean > self.margin * gain.noise:
            return Decision("keep", f"better on {seeds}", gain)
        return Decision("discard", f"{NEAR_MISS} on {seeds}", gain)


NOISELESS = FixedMarginRule(max_pairs=1, screen_sds=0.0)
"""For a metric that does not vary: any gain is one, and one fresh seed is enough to see it."""
