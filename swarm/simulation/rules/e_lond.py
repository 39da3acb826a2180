"""The e-LOND rule: e-values of paired gains against a threshold that bounds the FDR.

An e-value is the wealth of a gambler who bets that the gain is above zero; if it is not, the wealth
is not expected to grow, at any stopping time. The bet is a mixture of sequential probability ratio
tests over half-normal gains (Robbins, "Statistical methods related to the law of the iterated
logarithm", 1970). e-LOND asks more of each further test and less after each keep, and so holds the
false discovery rate of all keeps (Xu & Ramdas, "Online multiple testing with e-values", AISTATS
2024). It needs no prior of gains.

Not covered: a spread that is itself only estimated. It is taken as known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import ndtr

from islands.ratchet.acceptance import NEAR_MISS, CandidateEvidence, Decision, screen_candidate
from islands.ratchet.fixed_margin import NOISELESS
from islands.ratchet.noise import weigh

SCALE = 2.0
"""Width of the half-normal gains that are bet on, in standard deviations of a pair."""

MAX_EXPONENT = 700.0
"""Cap on the exponent of an e-value: exp() overflows beyond 709."""


@dataclass(frozen=True, slots=True)
class ELondRule:
    """Keeps a candidate whose e-value reaches the e-LOND threshold.

    - `fdr`: share of kept changes that may be worth nothing, above 0
    - `max_pairs`: fresh seeds that one candidate gets at most
    - `screen_sds`: screened gain needed to be confirmed, in standard deviations of a pair
    """

    fdr: float = 0.05
    max_pairs: int = 8
    screen_sds: float = 1.0

    def decide(self, evidence: CandidateEvidence) -> Decision:
        """Screen by a fixed margin, then bet on the fresh pairs."""
        pairs, noise, kept = evidence.pairs, evidence.noise, evidence.kept
        if noise.pair == 0:
            return NOISELESS.decide(evidence)
        if not pairs:
            return screen_candidate(evidence, self.screen_sds * evidence.prior.unit * noise.pair)
        gain = weigh(pairs, noise)
        value = e_value(gain.mean / noise.pair, gain.pairs)
        needed = e_lond_threshold(self.fdr, kept.turn, kept.count)
        reason = f"e-value {value:.3g} of {needed:.3g} on {gain.pairs} fresh seeds"
        if value >= needed:
            return Decision("keep", reason, gain)
        if gain.mean <= 0:
            return Decision("discard", f"no gain: {reason}", gain)
        if len(pairs) >= self.max_pairs:
            return Decision("discard", f"{NEAR_MISS}: {reason}", gain)
        return Decision("confirm", reason)


def e_value(mean: float, pairs: int) -> float:
    """Return the e-value of a `mean` gain over `pairs`, in standard deviations of a pair."""
    total, variance = mean * pairs, 1 + pairs * SCALE**2
    exponent = min(0.5 * (SCALE * total) ** 2 / variance, MAX_EXPONENT)
    share = float(ndtr(SCALE * total / math.sqrt(variance)))
    return 2 * share * math.exp(exponent) / math.sqrt(variance)


def e_lond_threshold(fdr: float, turn: int, kept: int) -> float:
    """Return the e-value that test number `turn`, from 1, must reach after `kept` keeps."""
    return turn * (turn + 1) / (fdr * (kept + 1))
