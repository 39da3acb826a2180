"""The product's acceptance rule: keep while the mean lfsr of all keeps stays below `fdr`.

The **lfsr** (local false sign rate: Stephens, "False discovery rates: a new deal", Biostatistics
2017) of a candidate is the posterior probability that its true gain is zero or less, under the
distribution of gains that the run learns from its screened proposals (islands/ratchet/prior.py).

A candidate is screened by one trial on a seed that the head has a score for. A promising one gets
fresh common seeds, candidate and head on each, one at a time. It is discarded once more trials are
expected to bring less than they do elsewhere, and kept once the mean lfsr of all keeps of the run,
its own included, is at most `fdr`. That holds the false discovery rate of the whole run at that
level, across islands and at any stopping time (Gang, Sun & Wang, "Structure-adaptive sequential
testing for online false discovery rate control", JASA 2021). The screening trial selected the
candidate, so it is not part of the evidence. A change that another island kept was selected there:
here all its trials are evidence, the first included.

Not covered: a second look at a kept change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from islands.ratchet.acceptance import NEAR_MISS, CandidateEvidence, Decision, screen_candidate
from islands.ratchet.fixed_margin import NOISELESS
from islands.ratchet.noise import weigh
from islands.ratchet.prior import SURE_FREEDOM
from islands.records import Gain

MIN_FREEDOM = 6
"""Degrees of freedom, the candidate's own pairs among them, before which nothing is kept.

On a single pair SURE of them are needed; `max_pairs` pairs are enough in any case. Where sigma is
four median gains and most proposals harm, 5 of 11 keeps before the 25th trial were false on two
pairs beside the baseline's three degrees, and later 3 of 6 on a single pair beside six.
"""


@dataclass(frozen=True, slots=True)
class LfsrRule:
    """Bounds the mean lfsr of all keeps.

    - `fdr`: share of kept changes that may be worth nothing, above 0
    - `max_pairs`: fresh seeds that one candidate gets at most
    """

    fdr: float = 0.05
    max_pairs: int = 8

    def decide(self, evidence: CandidateEvidence) -> Decision:
        """Screen, then weigh the fresh pairs against the prior and the run's other keeps."""
        pairs, noise, prior = evidence.pairs, evidence.noise, evidence.prior
        if noise.pair == 0:
            return NOISELESS.decide(evidence)
        if not prior.screens:  # a migrant: it was selected elsewhere, so the screen is evidence
            return self._weigh([evidence.screened, *pairs], evidence)
        if not pairs:
            return screen_candidate(evidence, prior.bar * prior.unit * noise.pair)
        return self._weigh(pairs, evidence)

    def _weigh(self, pairs: Sequence[float], evidence: CandidateEvidence) -> Decision:
        noise, prior, kept = evidence.noise, evidence.prior, evidence.kept
        own = weigh(pairs, noise)
        freedom = noise.known_by + own.pairs - 1
        unit = own.noise * math.sqrt(own.pairs) * prior.unit
        posterior = prior.weigh(own.mean / unit, own.pairs, freedom)
        lfsr = posterior.lfsr
        gain = Gain(posterior.gain * unit, posterior.error * unit, own.pairs, lfsr)
        reason = (
            f"{lfsr:.0%} chance of no gain (lfsr) on {own.pairs} "
            f"{'pair' if own.pairs == 1 else 'pairs'}"
        )
        sure = (
            freedom >= (SURE_FREEDOM if own.pairs == 1 else MIN_FREEDOM)
            or own.pairs >= self.max_pairs
        )
        mean_lfsr = (kept.lfsr_sum + lfsr) / (kept.count + 1)
        if sure and mean_lfsr <= self.fdr and gain.mean > 0:
            return Decision("keep", reason, gain)
        if own.mean <= 0 or posterior.worth <= 0:
            return Decision("discard", f"no gain: {reason}", gain)
        if len(evidence.pairs) >= self.max_pairs:
            return Decision("discard", f"{NEAR_MISS}: {reason}", gain)
        return Decision("confirm", reason)
