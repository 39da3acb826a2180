"""The product's acceptance rule: keep while the mean lfsr of all keeps stays below `fdr`.

The **lfsr** (local false sign rate: Stephens, "False discovery rates: a new deal", Biostatistics
2017) of a candidate is the posterior probability that its true gain is zero or less, under the
distribution of gains that the run learns from its screens (islands/ratchet/learnt_prior.py).

A candidate is screened by one trial on a seed that the head has a score for; the error of that
score is taken out as other screens there show it (`GainPrior.head_error`). A promising one gets
fresh common seeds, candidate and head on each, one at a time. It is discarded once more trials are
expected to bring less than they do elsewhere, and kept once the mean lfsr of all keeps of the run,
its own included, is at most `fdr` (less for the first few, see CAUTION). That holds the false
discovery rate of the whole run at that level, across islands and at any stopping time (Gang, Sun &
Wang, "Structure-adaptive sequential testing for online false discovery rate control", JASA 2021).
The screening trial selected the candidate, so it is not part of the evidence. A change that another
island kept was selected there: here all its trials are evidence, the first included.

A pair that is far off counts once another agrees with it, or the screen; of three or more those far
off are left out (islands/ratchet/spread.py), and where no two agree there is no keep.

Not covered: a second look at a kept change; a candidate whose screening trial was far off for the
worse is lost; one whose own score jumps from seed to seed, as the head's does not, is kept where
its screen and its first pairs are lucky: a third of those that toss a coin between far better and
far worse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from islands.ratchet.acceptance import (
    NEAR_MISS,
    CandidateEvidence,
    Decision,
    KeepTally,
    screen_candidate,
)
from islands.ratchet.fixed_margin import NOISELESS
from islands.ratchet.prior import SURE_FREEDOM
from islands.ratchet.spread import far_limit, odd_ones
from islands.records import Gain

MIN_FREEDOM = 6
"""Degrees of freedom, the candidate's own pairs among them, before which only CLEAR gains are kept.

On a single pair SURE of them are needed; `max_pairs` pairs are enough in any case. Where sigma is
four median gains and most proposals harm, 5 of 11 keeps before the 25th trial were false on two
pairs beside the baseline's three degrees, and later 3 of 6 on a single pair beside six.
"""

CLEAR, CLEAR_FREEDOM = 0.02, 4
"""Lfsr, in multiples of `fdr`, at which fewer degrees of freedom are enough on two pairs or more.

In four runs of `gpt` the first keeps gained seven standard deviations of a pair, and waited for
four pairs. In simulation as much is gained, and no more claims are unreal.
"""

CAUTION = 0.5
"""Keeps, of no lfsr, that a run lacks at first: its first one needs an lfsr of `fdr` / 1.5.

The share of proposals that gain is a guess until some were kept, and where hardly any are, the
first keep is often the only one.
"""

MAX_SHARES = 4.0
"""The most lfsr, in multiples of `fdr`, that a keep may have, however certain all others are.

One on a slice whose level moves may have `fdr`: noise that changes, and screens that were compared
across a move, make an lfsr less sure than it says. Pairs there may be noisier than the run's, too:
without that 13 of 182 claims were unreal where load comes in bursts, with it 5 of 173, and as much
is gained (130 nights of `published`).
"""

RESTLESS_PAIRS, RESTLESS_NEAR = 2, 4
"""Pairs that a keep needs on a slice whose level moves; near ones, where another is left out.

With the far-off one counted, spikes made gains of 12 medians out of less than one.
"""

FAR_PAIRS = 2
"""Pairs up to which a far-off one asks for another: of three, two agree."""


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
        noise, prior = evidence.noise, evidence.prior
        unit = noise.pair * prior.unit
        measured = [pair / unit for pair in pairs]
        odd = odd_ones(measured, 1.0, noise.known_by) if len(measured) > FAR_PAIRS else []
        gains = [gain for place, gain in enumerate(measured) if place not in odd]
        screened = evidence.screened / unit if prior.screens else 0.0
        steady = evidence.steady and not evidence.restless
        last = len(evidence.pairs) >= self.max_pairs
        if not gains:
            return _of_none(pairs, last=last)
        posterior = prior.weigh(gains, noise.known_by, noise.tails, screened, steady=steady)
        # screens may show less noise than was measured, but not so surely that errors rest on it
        error = posterior.error * noise.pair * max(prior.unit, 1.0)
        gain = Gain(posterior.gain * unit, error, len(gains), posterior.lfsr)
        reason = _reason(posterior.lfsr, len(gains), len(odd))
        seen = [screened, *gains] if prior.screens else gains
        if not last and len(gains) <= FAR_PAIRS and _far_off(seen, noise.known_by):
            return Decision("confirm", f"far off, measured once more: {reason}")
        freedom = noise.known_by + len(gains) - 1
        least = CLEAR_FREEDOM if posterior.lfsr <= CLEAR * self.fdr else MIN_FREEDOM
        sure = freedom >= (SURE_FREEDOM if len(gains) == 1 else least)
        enough = not evidence.restless or len(gains) >= (RESTLESS_NEAR if odd else RESTLESS_PAIRS)
        allowed = enough and self._allows(gain, evidence.kept, restless=evidence.restless)
        if (sure or last) and gain.mean > 0 and allowed:
            return Decision("keep", reason, gain)
        if posterior.gain <= 0 or posterior.worth <= 0:
            return Decision("discard", f"no gain: {reason}", gain)
        if last:
            return Decision("discard", f"{NEAR_MISS}: {reason}", gain)
        return Decision("confirm", reason)

    def _allows(self, gain: Gain, kept: KeepTally, *, restless: bool) -> bool:
        """Return whether the run may keep `gain` beside all that it has kept."""
        if gain.lfsr > (1.0 if restless else MAX_SHARES) * self.fdr:
            return False
        count = kept.count + 1
        return kept.lfsr_sum + gain.lfsr <= self.fdr * count**2 / (count + CAUTION)


def _of_none(pairs: Sequence[float], *, last: bool) -> Decision:
    """Return the decision where no pair agrees with another."""
    reason = f"no two of {len(pairs)} pairs agree"
    if not last:
        return Decision("confirm", f"far off, measured once more: {reason}")
    gain = Gain(fmean(pairs), stdev(pairs) / math.sqrt(len(pairs)), len(pairs))
    return Decision("discard", reason, gain)


def _reason(lfsr: float, pairs: int, odd: int) -> str:
    left_out = f", {odd} far off left out" if odd else ""
    return f"{lfsr:.0%} chance of no gain (lfsr) on {pairs} pair{'s' * (pairs > 1)}{left_out}"


def _far_off(gains: Sequence[float], freedom: int) -> bool:
    """Return whether one of few gains is too far from the others to count by itself."""
    limit = far_limit(freedom)
    if len(gains) == 1:
        return abs(gains[0]) > limit
    return max(gains) - min(gains) > math.sqrt(2) * limit
