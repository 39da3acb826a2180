"""Equal and simpler is a win: a candidate with fewer lines of code is kept if it is no worse.

"No worse" is shown on the pairs: that the true gain is above minus a margin. The doubt, the
probability that it is not, counts in the run's error control as the lfsr of any other keep does.
The margin is what an island may lose to all of its simplifications together: what earlier ones lost
is taken off it, so that a line which is removed, added again for its gain and removed again is not
removed for ever. What the usual rule keeps or goes on measuring is not touched.

tests/benchmarks/bench_simpler.py simulates 150 islands that are each offered 60 simplifications,
half of them without effect and half with a loss of 1.6 standard deviations of a pair on average,
where the usual rule would discard all and take a trial for each. The noise is known by 6 degrees of
freedom, `fdr` is 0.05. False: of those kept, what truly loses more than the margin. Loop: of 200
removals of one line that is worth half a standard deviation and comes back each time, those kept.

| margin | kept of 60 | of those without effect | false | all of them lose | trials each | loop |
| --- | --- | --- | --- | --- | --- | --- |
| 0.25 | 4.7 | 14 % | 4.1 % | 0.12 | 2.9 | 4 |
| 0.5 | 7.0 | 20 % | 1.5 % | 0.21 | 3.1 | 8 |
| 1 | 9.0 | 26 % | 0.1 % | 0.32 | 3.0 | 11 |
| 2 | 10.8 | 30 % | 0.1 % | 0.59 | 3.1 | 12 |

Program.md's default is 0.5. With the losses counted as they show, without the standard error on
top, the loop kept 40 removals at a margin of 1.

Not covered: what fewer lines are worth; a candidate that saves one line is as simple as one that
saves a hundred.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from islands.ratchet.acceptance import CandidateEvidence, Decision, KeepTally
from islands.ratchet.noise import weigh
from islands.records import Gain

MIN_FREEDOM = 6
"""Degrees of freedom, the candidate's own pairs among them, before which nothing is kept so."""

CAUTION = 0.5
"""Keeps, of no doubt, that a run lacks at first (see islands/ratchet/lfsr.py)."""

FIXED_DOUBT = 0.025
"""The most doubt of a keep where `fdr` is 0: about two standard errors."""

MIN_MARGIN = 0.1
"""A smaller margin, in standard deviations of a pair, is used up."""


@dataclass(frozen=True, slots=True)
class SimplerRule:
    """Keeps shorter candidates that are shown to be no worse than a margin.

    - `margin`: what an island may lose to simplifications, in standard deviations of a pair; 0: off
    - `fdr`: share of kept changes that may be false, as of the usual rule; 0: FIXED_DOUBT for each
    - `max_pairs`: fresh seeds that one candidate gets at most
    """

    margin: float = 0.0
    fdr: float = 0.05
    max_pairs: int = 8

    def decide(
        self, usual: Decision, evidence: CandidateEvidence, lines: int, lost: float
    ) -> Decision:
        """Return `usual`, or what a change of `lines` of code deserves where that is a discard.

        `lost` is what the island's earlier simplifications lost, in the metric's unit, 0 or more.
        """
        if not self.margin or lines >= 0 or usual.verdict != "discard":
            return usual
        noise = evidence.noise
        margin = self.margin * noise.pair - lost
        if margin < MIN_MARGIN * noise.pair:
            return usual
        if not evidence.pairs:
            hopeless = evidence.screened < -margin - noise.floor
            return usual if hopeless else Decision("confirm", f"simpler: {_counted(lines)}")
        return self._weigh(usual, evidence, lines, margin)

    def _weigh(
        self, usual: Decision, evidence: CandidateEvidence, lines: int, margin: float
    ) -> Decision:
        noise = evidence.noise
        gain = weigh(evidence.pairs, noise)
        freedom = noise.known_by + gain.pairs - 1
        last = gain.pairs >= self.max_pairs
        if gain.noise == 0:
            doubt = 0.0 if gain.mean >= -margin - noise.floor else 1.0
        else:
            doubt = _tail((gain.mean + margin) / gain.noise, freedom)
        judged = Gain(gain.mean, gain.noise, gain.pairs, doubt)
        reason = f"simpler: {_counted(lines)}, gain {gain.format()}"
        sure = freedom >= MIN_FREEDOM or last or gain.noise == 0
        if sure and self._allows(doubt, evidence.kept):
            return Decision("keep", reason, judged, simpler=True)
        if last or gain.mean < -margin / 2:
            return usual
        return Decision("confirm", reason)

    def _allows(self, doubt: float, kept: KeepTally) -> bool:
        """Return whether the run may keep a change of so much doubt beside all that it has kept."""
        if not self.fdr:
            return doubt <= FIXED_DOUBT
        count = kept.count + 1
        total = kept.lfsr_sum + doubt
        return doubt <= self.fdr and total <= self.fdr * count**2 / (count + CAUTION)


def _counted(lines: int) -> str:
    return f"{lines:+d} line{'' if lines == -1 else 's'}"


def may_have_lost(gain: Gain) -> float:
    """Return what a simplification of this `gain` is taken to have lost, 0 or more.

    One standard error more than it shows: it was kept since it shows less than it lost.
    """
    return max(0.0, gain.noise - gain.mean)


def _tail(t: float, freedom: int) -> float:
    """Return the probability that Student's t is above `t`."""
    from scipy.special import stdtr  # noqa: PLC0415  # takes long to import, and few runs need it

    return float(stdtr(max(freedom, 1), -t)) if math.isfinite(t) else 0.0
