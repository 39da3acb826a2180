"""Stack checks whose truth is known: how often the verdict is right, and the culprit found.

All sizes are in units of sigma, the standard deviation of one paired difference. A part has passed
the ratchet: its true effect is uniform from 1 to 4, and its claim was measured on 2 to 8 pairs,
the fewer the larger it is ((2.5 / effect)², which is where the ratchet is sure). In `sparse` one
pair of parts interacts, in `strong` a fifth of all parts pair off, two pairs at least. Every
second pair cancels (the lesser part is worth nothing beside the other: redundant), the others
ruin each other (both together are worth nothing: antagonistic). Parts that interact have effects
from `least` to `least` + 1: how large these must be is what the study is for.

The true verdict is what the same definitions say of the true effects: a part of an interacting
pair is worth, in the whole, less than nothing (antagonistic), nothing (redundant), or something.

Not covered: interactions of three; claims that were wrong for another reason than noise.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Literal

from rich.table import Table
from rich.text import Text

from islands.events import StackVerdict
from islands.records import Gain
from islands.rng import seed_of
from islands.stacking.design import Arm, Parts, budget, design
from islands.stacking.inference import NEGLIGIBLE, Evidence, StackPart
from islands.stacking.verdict import Judgement, judge, next_arm
from swarm.simulation.intervals import Share, mean_of, share_of
from swarm.simulation.study import begin

Epistasis = Literal["none", "sparse", "strong"]

COUNTS = (5, 10, 20)
"""How many parts the stacks of a study have."""

LEASTS = (1.0, 2.0, 3.0)
"""Least effects of interacting parts that a study tries."""

LARGEST = 4.0


@dataclass(frozen=True, slots=True)
class Case:
    """A kind of stack."""

    parts: int
    epistasis: Epistasis
    least: float = 3.0


@dataclass(frozen=True, slots=True)
class Truth:
    """What a stack's parts are worth alone, and what pairs of them add to that."""

    effects: Mapping[int, float]
    pairs: Mapping[tuple[int, int], float] = field(default_factory=dict)

    def worth(self, parts: Parts) -> float:
        """Return what a combination is truly worth."""
        alone = math.fsum(self.effects[number] for number in parts)
        return alone + math.fsum(
            size for pair, size in self.pairs.items() if parts.issuperset(pair)
        )

    def verdict(self) -> StackVerdict:
        """Return what the whole truly comes to."""
        whole = frozenset(self.effects)
        left = [
            self.worth(whole) - self.worth(whole - {number})
            for pair in self.pairs
            for number in pair
        ]
        if not left:
            return "additive"
        if min(left) < -NEGLIGIBLE:
            return "antagonistic"
        return "redundant" if min(left) <= NEGLIGIBLE else "short"


@dataclass(frozen=True, slots=True)
class StudyResult:
    """One stack: was the verdict right, how many of its culprits were found, and how many others.

    `worst` is the largest true effect, in the stack that came out, of a part that was dropped
    (minus infinity where none was), `lost` what that stack is truly worth less than the best one.
    """

    right: bool
    culprits: int
    found: int
    others: int
    worst: float
    trials: int
    lost: float


@dataclass(frozen=True, slots=True)
class Row:
    """What the stacks of one kind came to; `trials` is the mean."""

    case: Case
    repeats: int
    right: Share
    found: Share
    others: float
    harmless: Share
    trials: float
    most: int
    lost: float


def cases() -> list[Case]:
    """Return what a study tries: without interactions, and both kinds of them at every size."""
    found = [Case(count, "none") for count in COUNTS]
    kinds: tuple[Epistasis, ...] = ("sparse", "strong")
    return found + [
        Case(count, kind, least) for least in LEASTS[::-1] for kind in kinds for count in COUNTS
    ]


def draw(case: Case, dice: random.Random) -> tuple[Truth, list[StackPart]]:
    """Return a stack's truth, and its parts as their claims have them."""
    effects = {number: dice.uniform(1.0, LARGEST) for number in range(1, case.parts + 1)}
    many = {"none": 0, "sparse": 1, "strong": max(2, case.parts // 5)}[case.epistasis]
    among = dice.sample(sorted(effects), 2 * many)
    effects.update({number: dice.uniform(case.least, case.least + 1) for number in among})
    ruin = dice.randrange(2)
    pairs = {}
    for place in range(many):
        one, other = sorted(among[2 * place : 2 * place + 2])
        both = effects[one], effects[other]
        pairs[one, other] = -sum(both) if (place + ruin) % 2 else -min(both)
    parts = []
    for number, effect in effects.items():
        count = min(8, max(2, math.ceil((2.5 / effect) ** 2)))
        error = 1 / math.sqrt(count)
        parts.append(StackPart(number, Gain(dice.gauss(effect, error), error, count)))
    return Truth(effects, pairs), parts


def check(truth: Truth, parts: Sequence[StackPart], dice: random.Random) -> tuple[Judgement, int]:
    """Check a stack as a swarm would; return the judgement and the trials that it took."""
    numbers = [part.number for part in parts]
    whole, level = frozenset(numbers), dice.gauss(0.0, 3.0)
    scores: dict[Arm, float] = {}
    for each in design(numbers):
        scores[Arm(each)] = _measured(truth, each, level, dice)
    evidence = Evidence(parts, scores)
    while len(scores) < budget(len(parts)):
        arm = next_arm(evidence, whole, 0)
        if arm is None:
            break
        scores[arm] = _measured(truth, arm.parts, level, dice)
        evidence = Evidence(parts, scores)
    return judge(evidence, whole), len(scores)


def _measured(truth: Truth, parts: Parts, level: float, dice: random.Random) -> float:
    return truth.worth(parts) + level + dice.gauss(0.0, math.sqrt(0.5))


def tried(case: Case, seed: int) -> StudyResult:
    """Draw a stack by `seed` and check it."""
    dice = random.Random(seed)
    truth, parts = draw(case, dice)
    judged, trials = check(truth, parts, dice)
    stay, culprits = judged.stay, set(judged.culprits)
    dropped = frozenset(truth.effects) - stay
    worth = [truth.worth(stay | {number}) - truth.worth(stay) for number in dropped]
    best = sum(truth.effects.values()) - math.fsum(
        min(truth.effects[number] for number in pair) for pair in truth.pairs
    )
    return StudyResult(
        right=judged.verdict == truth.verdict(),
        culprits=len(truth.pairs),
        found=len(culprits & set(truth.pairs)),
        others=len(culprits - set(truth.pairs)),
        worst=max(worth, default=-math.inf),
        trials=trials,
        lost=best - truth.worth(stay),
    )


def study_stacks(
    wanted: Sequence[Case], repeats: int, seed: int, workers: int, told: Callable[[], None]
) -> list[Row]:
    """Check `repeats` stacks of each kind on `workers` processes; `told` as each one ends."""
    seeds = [seed_of(seed, "stack", repeat) for repeat in range(repeats)]
    jobs = [(case, each) for case in wanted for each in seeds]
    found: list[StudyResult] = []
    for each in _ran(jobs, workers):
        found.append(each)
        told()
    parts = [found[at : at + repeats] for at in range(0, len(found), repeats)]
    return [_row(case, part) for case, part in zip(wanted, parts, strict=True)]


def _ran(jobs: Sequence[tuple[Case, int]], workers: int) -> Iterable[StudyResult]:
    if workers == 1:
        yield from map(_job, jobs)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), begin) as pool:
        try:
            yield from pool.map(_job, jobs, chunksize=8)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _job(job: tuple[Case, int]) -> StudyResult:
    return tried(*job)


def _row(case: Case, found: Sequence[StudyResult]) -> Row:
    dropped = [each for each in found if each.worst > -math.inf]
    return Row(
        case=case,
        repeats=len(found),
        right=share_of([each.right for each in found], [1] * len(found)),
        found=share_of([each.found for each in found], [each.culprits for each in found]),
        others=mean_of([each.others for each in found]).mean,
        harmless=share_of([each.worst <= NEGLIGIBLE for each in dropped], [1] * len(dropped)),
        trials=mean_of([each.trials for each in found]).mean,
        most=budget(case.parts),
        lost=mean_of([each.lost for each in found]).mean,
    )


def table(rows: Sequence[Row]) -> Table:
    """Return one row for each kind of stack."""
    title = f"{rows[0].repeats} stacks a row; () are 95 % intervals; effects in sigma"
    grid = Table(title=Text(title), title_justify="left")
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
        grid.add_column(name, justify="right")
    for row in rows:
        case = row.case
        sizes = "-" if case.epistasis == "none" else f"{case.least:g} to {case.least + 1:g}"
        grid.add_row(
            case.epistasis,
            sizes,
            str(case.parts),
            _told(row.right),
            _told(row.found),
            f"{row.others:.2f}",
            _told(row.harmless),
            f"{row.lost:.2f}",
            f"{row.trials:.1f} of {row.most}",
        )
    return grid


def _told(share: Share) -> str:
    if not share.whole:
        return "-"
    return f"{share.share:.1%} ({share.low:.1%}-{share.high:.1%})"
