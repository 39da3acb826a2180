"""What it costs to keep shorter candidates that are no worse: the rule against a known truth.

    python -m tests.benchmarks.bench_simpler [ISLANDS]

Each island is offered simplifications one after the other; half have no effect, half lose what is
half-normal of two standard deviations of a pair. The noise is known by six degrees of freedom, and
what the usual rule would keep for its gain is left out: it discards everything here.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from math import sqrt
from statistics import fmean

from islands.ratchet.acceptance import CandidateEvidence, Decision, KeepTally
from islands.ratchet.learnt_prior import learn
from islands.ratchet.noise import Noise
from islands.ratchet.simpler import SimplerRule, may_have_lost

PROPOSALS = 60
PRIOR = learn((), 6)
USUAL = Decision("discard", "no gain")


def noise(rng: random.Random) -> Noise:
    """Return an estimate of a pair's standard deviation of 1, by seven baseline seeds."""
    scores = [rng.gauss(0, sqrt(0.5)) for _ in range(7)]
    mean = fmean(scores)
    return Noise(sqrt(sum((score - mean) ** 2 for score in scores) / 6), 7)


def judge(  # noqa: PLR0913, PLR0917 - one draw needs them all
    rule: SimplerRule, effect: float, rng: random.Random, known: Noise, kept: KeepTally, lost: float
) -> tuple[Decision, int]:
    """Return the verdict on one simplification of this true effect, and the trials it took."""
    pairs: list[float] = []
    screened = effect + rng.gauss(0, 1)
    while True:
        evidence = CandidateEvidence(screened, pairs, known, PRIOR, kept)
        decision = rule.decide(USUAL, evidence, -1, lost)
        if decision.verdict != "confirm":
            return decision, 1 + 2 * len(pairs)
        pairs.append(effect + rng.gauss(0, 1))


def island(rule: SimplerRule, seed: int, effects: Sequence[float]) -> dict[str, float]:
    """Return what an island kept of simplifications of these effects, and what it cost."""
    rng = random.Random(seed)
    known, kept, lost = noise(rng), KeepTally(), 0.0
    totals = dict.fromkeys(("kept", "false", "worth", "trials", "same", "offered"), 0.0)
    for effect in effects:
        decision, trials = judge(rule, effect, rng, known, kept, lost)
        totals["trials"] += trials
        totals["offered"] += effect == 0
        if decision.verdict != "keep" or decision.gain is None:
            continue
        gain = decision.gain
        kept = KeepTally(kept.count + 1, kept.lfsr_sum + gain.lfsr)
        lost += may_have_lost(gain)
        totals["kept"] += 1
        totals["false"] += effect < -rule.margin
        totals["same"] += effect == 0
        totals["worth"] += effect
    return totals


def loop(rule: SimplerRule, seed: int, worth: float = 0.5, rounds: int = 200) -> int:
    """Return how often a line that is worth something is removed, if it always comes back."""
    rng = random.Random(seed)
    known, kept, lost, removed = noise(rng), KeepTally(), 0.0, 0
    for _ in range(rounds):
        decision, _ = judge(rule, -worth, rng, known, kept, lost)
        if decision.verdict == "keep" and decision.gain is not None:
            removed += 1
            lost += may_have_lost(decision.gain)
            kept = KeepTally(kept.count + 2, kept.lfsr_sum + decision.gain.lfsr)
    return removed


def study(margin: float, islands: int) -> dict[str, float]:
    """Return the means over many islands with this margin."""
    rule = SimplerRule(margin)
    rows = []
    for seed in range(islands):
        rng = random.Random(f"effects/{seed}")
        effects = [0.0 if rng.random() < 0.5 else -abs(rng.gauss(0, 2)) for _ in range(PROPOSALS)]
        rows.append(island(rule, seed, effects))
    total = {name: sum(row[name] for row in rows) for name in rows[0]}
    return {
        "kept of 60": total["kept"] / islands,
        "share of those without effect": total["same"] / max(total["offered"], 1),
        "false": total["false"] / max(total["kept"], 1),
        "worth": total["worth"] / islands,
        "trials each": total["trials"] / (islands * PROPOSALS),
        "removals": fmean(loop(rule, seed) for seed in range(islands)),
    }


def main(islands: int) -> None:
    """Print a row for each margin."""
    for margin in (0.25, 0.5, 0.75, 1.0, 1.5, 2.0):
        row = study(margin, islands)
        print(margin, "  ".join(f"{name} {value:.3f}" for name, value in row.items()), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
