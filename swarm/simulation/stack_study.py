"""Stack checks whose truth is known: how often the verdict is right and the culprits are found.

All sizes are in units of sigma, the standard deviation of one paired difference. A part has passed
the ratchet: its true effect is uniform from 1 to 4, and its claim was measured on 2 to 8 pairs, the
fewer the larger it is ((2.5 / effect)², which is where the ratchet is sure). In `sparse` one pair
of parts interacts, in `strong` a fifth of all parts pair off, two pairs at least. Every second pair
cancels (the lesser part is worth nothing beside the other: redundant), the others ruin each other
(both together are worth nothing: antagonistic). Parts that interact have effects from `min_effect`
to `min_effect` + 1: how large these must be is what the study is for.

The true verdict follows the same definitions from the true effects: a part of an interacting pair
is worth, in the whole, less than nothing (antagonistic), nothing (redundant), or something.

Not covered: interactions of three; claims that are wrong for another reason than noise.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Literal

from analysis.grid import Grid
from islands.events import StackVerdict
from islands.records import Gain
from islands.rng import seed_of
from islands.stacking.design import Arm, Parts, budget, design
from islands.stacking.inference import NEGLIGIBLE, Evidence, StackPart
from islands.stacking.verdict import Judgement, judge, next_arm
from swarm.simulation.intervals import Share, mean_of, share_of
from swarm.simulation.study import spread

Epistasis = Literal["none", "sparse", "strong"]

PART_COUNTS = (5, 10, 20)
"""Numbers of parts of the stacks of a study."""

MIN_EFFECTS = (1.0, 2.0, 3.0)
"""Smallest effects of interacting parts that a study tries."""

MAX_EFFECT = 4.0


@dataclass(frozen=True, slots=True)
class StackCase:
    """A kind of stack.

    - `parts`: number of parts
    - `epistasis`: how many pairs of them interact
    - `min_effect`: smallest effect of a part that interacts
    """

    parts: int
    epistasis: Epistasis
    min_effect: float = 3.0


@dataclass(frozen=True, slots=True)
class StackTruth:
    """The truth of a stack.

    - `effects`: worth of each part alone, by its number
    - `pairs`: what two parts add to the sum of both
    """

    effects: Mapping[int, float]
    pairs: Mapping[tuple[int, int], float] = field(default_factory=dict)

    def worth(self, parts: Parts) -> float:
        """Return what a combination is truly worth."""
        alone = math.fsum(self.effects[number] for number in parts)
        return alone + math.fsum(
            size for pair, size in self.pairs.items() if parts.issuperset(pair)
        )

    def verdict(self) -> StackVerdict:
        """Return the true verdict on the whole."""
        whole = frozenset(self.effects)
        losses = [
            self.worth(whole) - self.worth(whole - {number})
            for pair in self.pairs
            for number in pair
        ]
        if not losses:
            return "additive"
        if min(losses) < -NEGLIGIBLE:
            return "antagonistic"
        return "redundant" if min(losses) <= NEGLIGIBLE else "short"


@dataclass(frozen=True, slots=True)
class StackResult:
    """The result of one stack check.

    - `right`: whether the verdict was right
    - `culprits`: interacting pairs, `culprits_found` of them blamed
    - `others_blamed`: faults blamed that are none
    - `worst_drop`: largest true effect, in the stack that came out, of a part that was dropped
      (minus infinity where none was)
    - `trials`: trials that the check took
    - `lost`: what the stack that came out is truly worth less than the best one
    """

    right: bool
    culprits: int
    culprits_found: int
    others_blamed: int
    worst_drop: float
    trials: int
    lost: float


@dataclass(frozen=True, slots=True)
class StackSummary:
    """Means and shares over the stacks of one kind.

    - `harmless`: share of stacks with drops that lost nothing material
    - `trials`, `others_blamed`, `lost`: means
    - `max_trials`: budget of a check
    """

    case: StackCase
    repeats: int
    right: Share
    culprits_found: Share
    others_blamed: float
    harmless: Share
    trials: float
    max_trials: int
    lost: float


def all_cases() -> list[StackCase]:
    """Return the kinds of stack of a study: no interactions, and both kinds at every size."""
    independent = [StackCase(count, "none") for count in PART_COUNTS]
    kinds: tuple[Epistasis, ...] = ("sparse", "strong")
    return independent + [
        StackCase(count, kind, min_effect)
        for min_effect in MIN_EFFECTS[::-1]
        for kind in kinds
        for count in PART_COUNTS
    ]


def draw(case: StackCase, rng: random.Random) -> tuple[StackTruth, list[StackPart]]:
    """Return a stack's truth, and its parts with the gains that they claim."""
    effects = {number: rng.uniform(1.0, MAX_EFFECT) for number in range(1, case.parts + 1)}
    pair_count = {"none": 0, "sparse": 1, "strong": max(2, case.parts // 5)}[case.epistasis]
    among = rng.sample(sorted(effects), 2 * pair_count)
    effects.update({number: rng.uniform(case.min_effect, case.min_effect + 1) for number in among})
    ruin = rng.randrange(2)
    pairs = {}
    for place in range(pair_count):
        one, other = sorted(among[2 * place : 2 * place + 2])
        both = effects[one], effects[other]
        pairs[one, other] = -sum(both) if (place + ruin) % 2 else -min(both)
    parts = []
    for number, effect in effects.items():
        count = min(8, max(2, math.ceil((2.5 / effect) ** 2)))
        error = 1 / math.sqrt(count)
        parts.append(StackPart(number, Gain(rng.gauss(effect, error), error, count)))
    return StackTruth(effects, pairs), parts


def check_stack(
    truth: StackTruth, parts: Sequence[StackPart], rng: random.Random
) -> tuple[Judgement, int]:
    """Check a stack as a swarm would; return the judgement and the trials that it took."""
    numbers = [part.number for part in parts]
    whole, level = frozenset(numbers), rng.gauss(0.0, 3.0)
    scores: dict[Arm, float] = {}
    for combination in design(numbers):
        scores[Arm(combination)] = _measure(truth, combination, level, rng)
    evidence = Evidence(parts, scores)
    while len(scores) < budget(len(parts)):
        arm = next_arm(evidence, whole, 0)
        if arm is None:
            break
        scores[arm] = _measure(truth, arm.parts, level, rng)
        evidence = Evidence(parts, scores)
    return judge(evidence, whole), len(scores)


def _measure(truth: StackTruth, parts: Parts, level: float, rng: random.Random) -> float:
    return truth.worth(parts) + level + rng.gauss(0.0, math.sqrt(0.5))


def run_case(case: StackCase, seed: int) -> StackResult:
    """Draw a stack by `seed` and check it."""
    rng = random.Random(seed)
    truth, parts = draw(case, rng)
    judged, trials = check_stack(truth, parts, rng)
    stay, culprits = judged.stay, set(judged.culprits)
    dropped = frozenset(truth.effects) - stay
    worth = [truth.worth(stay | {number}) - truth.worth(stay) for number in dropped]
    best = sum(truth.effects.values()) - math.fsum(
        min(truth.effects[number] for number in pair) for pair in truth.pairs
    )
    return StackResult(
        right=judged.verdict == truth.verdict(),
        culprits=len(truth.pairs),
        culprits_found=len(culprits & set(truth.pairs)),
        others_blamed=len(culprits - set(truth.pairs)),
        worst_drop=max(worth, default=-math.inf),
        trials=trials,
        lost=best - truth.worth(stay),
    )


def study_stacks(
    cases: Sequence[StackCase],
    repeats: int,
    seed: int,
    workers: int,
    on_stack_done: Callable[[], None],
) -> list[StackSummary]:
    """Check `repeats` stacks of each kind on `workers` processes.

    Calls `on_stack_done` as each check ends.
    """
    seeds = [seed_of(seed, "stack", repeat) for repeat in range(repeats)]
    jobs = [(case, stack_seed) for case in cases for stack_seed in seeds]
    results: list[StackResult] = []
    with closing(spread(_job, jobs, workers, chunk=8)) as done:
        for result in done:
            results.append(result)
            on_stack_done()
    by_case = [results[at : at + repeats] for at in range(0, len(results), repeats)]
    return [_summarise(case, part) for case, part in zip(cases, by_case, strict=True)]


def _job(job: tuple[StackCase, int]) -> StackResult:
    return run_case(*job)


def _summarise(case: StackCase, results: Sequence[StackResult]) -> StackSummary:
    dropped = [result for result in results if result.worst_drop > -math.inf]
    return StackSummary(
        case=case,
        repeats=len(results),
        right=share_of([result.right for result in results], [1] * len(results)),
        culprits_found=share_of(
            [result.culprits_found for result in results], [result.culprits for result in results]
        ),
        others_blamed=mean_of([result.others_blamed for result in results]).mean,
        harmless=share_of(
            [result.worst_drop <= NEGLIGIBLE for result in dropped], [1] * len(dropped)
        ),
        trials=mean_of([result.trials for result in results]).mean,
        max_trials=budget(case.parts),
        lost=mean_of([result.lost for result in results]).mean,
    )


def table(rows: Sequence[StackSummary]) -> Grid:
    """Return one row for each kind of stack."""
    title = f"{rows[0].repeats} stacks a row; () are 95 % intervals; effects in sigma"
    grid = Grid(title)
    for name in ("epistasis", "interacting parts' effects"):
        grid.add_column(name)
    for name in (
        "parts",
        "verdict right",
        "culprits found",
        "others blamed",
        "dropped are <= 0.25",
        "lost",
        "trials",
    ):
        grid.add_column(name, right=True)
    for row in rows:
        case = row.case
        sizes = (
            "-" if case.epistasis == "none" else f"{case.min_effect:g} to {case.min_effect + 1:g}"
        )
        grid.add_row(
            case.epistasis,
            sizes,
            str(case.parts),
            _percent(row.right),
            _percent(row.culprits_found),
            f"{row.others_blamed:.2f}",
            _percent(row.harmless),
            f"{row.lost:.2f}",
            f"{row.trials:.1f} of {row.max_trials}",
        )
    return grid


def _percent(share: Share) -> str:
    if not share.whole:
        return "-"
    return f"{share.share:.1%} ({share.low:.1%}-{share.high:.1%})"
