"""Ablation: what each change of a stack is worth in place, and which changes interact.

Where a stack check tried the changes together, its arms and claims give the worth of a change as
the difference between the stack with it and without it, averaged over the models that explain the
evidence (islands/stacking/inference.py). Where none did, the gain that the change was kept for is
all there is, and the result says `estimated`.

A change that others are built on takes them along: `takes` names what does not apply without it. A
change's Shapley share (analysis/questions/shapley.py) divides the stack's worth fairly where
changes interact or are built on each other; the shares add up to the whole.

Errors are widened by how badly the models fit (`Evidence.misfit`), and by the interactions that are
too weak to be seen: where some pairs interact, others do (`_unseen`). The 95 % intervals of `worth`
in simulated runs on seeds to which nothing was fitted (`python -m tests.benchmarks.bench_ablation`)
hold the truth of so many changes in 100:

| pairs that interact | none | one in 50 | one in five |
| --- | --- | --- | --- |
| four islands, 200 trials: stacks of 6 | 98 | 98 | 93 |
| eight islands, 500 trials: stacks of 15 | 99 | 96 | 94 |

and 92 to 98 with more noise, other mixtures or larger interactions. Without `_unseen` it was 81 of
100 in the small stacks where one pair in five interacts.

Not covered: interactions of three or more changes; a head that a check tried in part only (its
other changes are estimated).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from analysis.questions.shapley import shares
from harness.contract import SetupError
from islands import events as ev
from islands.promotion.state import Promotions
from islands.records import Gain, summed
from islands.stacking.check import Claim, StackCheck
from islands.stacking.inference import Evidence, Worth
from islands.stacking.state import StackChecks

Basis = Literal["fresh", "measured", "estimated"]
"""What a worth rests on: pairs on fresh seeds that were bought for it (`swarm ablation --measure`),
the arms of a stack check, or the gain that the change was kept for."""

DROPPABLE_CHANCE = 0.5
"""A change that is not missed with at least this chance could be dropped at no loss."""


@dataclass(frozen=True, slots=True)
class PartWorth:
    """What one change is worth in its stack.

    experiment: the change
    worth: what the stack loses without it
    claimed: the gain that it was kept for
    shapley: its share of the stack's worth
    takes: changes of the stack that do not apply without it, and are missed with it
    basis: measured or estimated
    lines: lines of the genome that it costs (added less removed)
    droppable: whether the stack is probably as good without it
    """

    experiment: int
    worth: Gain
    claimed: Gain
    shapley: float
    takes: tuple[int, ...]
    basis: Basis
    lines: int
    droppable: bool


@dataclass(frozen=True, slots=True)
class PartInteraction:
    """Two changes that are worth more, or less, together than apart.

    one, other: their experiments, the smaller number first
    worth: what they are worth together less the sum
    chance: posterior probability that they interact at all
    """

    one: int
    other: int
    worth: Gain
    chance: float


@dataclass(frozen=True, slots=True)
class Ablation:
    """The ablation of a stack.

    commit: the stack, or the head
    check: number of the stack check that it rests on, 0 for none
    whole: what the stack is worth
    parts: its changes, the most valuable first
    interactions: pairs that may interact, the most probable first
    """

    commit: str
    check: int
    whole: Gain
    parts: tuple[PartWorth, ...]
    interactions: tuple[PartInteraction, ...]


@dataclass(frozen=True, slots=True)
class _Checked:
    check: StackCheck
    ended: ev.StackCheckEnded


class AblationFold:
    """The fold of what ablations need: claims, ended stack checks, heads, and the consensus.

    lfsrs: the lfsr that each change was kept on, by its experiment
    simpler: experiments of those that were kept because they are shorter and no worse
    """

    def __init__(self) -> None:
        self._stacks = StackChecks()
        self._promotions = Promotions()
        self._checked: list[_Checked] = []
        self._parts_of: dict[str, tuple[int, ...]] = {}
        self._parent: dict[str, str] = {}
        self._claims: dict[int, Claim] = {}
        self._number: dict[str, int] = {}
        self.lfsrs: dict[int, float] = {}
        self.simpler: set[int] = set()

    @property
    def consensus(self) -> str:
        """The commit of the consensus that is in force, "" for none."""
        built = self._promotions.consensus
        return built.commit if built is not None else ""

    def take(self, event: ev.Event) -> None:
        """Take in the next event of the ledger."""
        match event:
            case ev.StackCheckEnded(number=number) if number in self._stacks.under_way:
                self._checked.append(_Checked(self._stacks.under_way[number], event))
                self._parts_of[event.commit] = event.parts
            case ev.ConsensusMoved():
                self._parts_of[event.commit] = event.parts
            case ev.VerdictReached(verdict="keep", null=False):
                self._parent[event.commit] = event.parent
                self._number[event.commit] = event.experiment
                if event.gain is not None:
                    self.lfsrs[event.experiment] = event.gain.lfsr
                if event.simpler:
                    self.simpler.add(event.experiment)
        self._stacks.apply(event)
        self._promotions.apply(event)
        self._claims |= self._stacks.kept

    def ablation(self, commit: str) -> Ablation:
        """Return the ablation of a stack, the consensus, or an island's head.

        Raises SetupError where `commit` is none of these.
        """
        numbers = self.numbers(commit)
        return self._measured(commit, numbers) or self._estimated(commit, numbers)

    def numbers(self, commit: str) -> tuple[int, ...]:
        """Return the experiments in a stack or a head, in the order in which they apply.

        Raises SetupError where there is none.
        """
        numbers = self._parts_of.get(commit) or self._chain(commit)
        if not numbers:
            raise SetupError(
                f"{commit[:10]} holds no kept change of this run: name a head or a stack"
            )
        return numbers

    def resolve(self, target: str) -> str:
        """Return the commit that `target` names: `consensus`, or the start of a commit id.

        Raises SetupError where there is none, or several.
        """
        if target == "consensus":
            if not self.consensus:
                raise SetupError("there is no consensus yet: `swarm promote` builds one")
            return self.consensus
        commits = {*self._parts_of, *self._parent}
        found = [commit for commit in commits if target and commit.startswith(target.lower())]
        if len(found) != 1:
            problem = "no head or stack" if not found else f"{len(found)} commits"
            raise SetupError(
                f"{target!r}: {problem} of this run begins so; `swarm query 'FROM kept'` and"
                " `swarm query 'FROM stacks'` list them"
            )
        return found[0]

    def _chain(self, commit: str) -> tuple[int, ...]:
        """Return the kept changes from the base to a head, oldest first."""
        numbers: list[int] = []
        while commit in self._parent:
            numbers.append(self._number[commit])
            commit = self._parent[commit]
        return tuple(reversed(numbers))

    def _measured(self, commit: str, numbers: Sequence[int]) -> Ablation | None:
        """Return the ablation by the last stack check that tried all of `numbers` together."""
        wanted = frozenset(numbers)
        for checked in reversed(self._checked):
            check = checked.check
            whole = check.fit(frozenset(check.event.parts))
            if wanted <= whole and len(whole) > 1 and check.scores:
                return _by_check(commit, wanted, check, check.evidence(whole))
        return None

    def _estimated(self, commit: str, numbers: Sequence[int]) -> Ablation:
        claims = [self._claims[number] for number in numbers if number in self._claims]
        parts = [_estimate(claim) for claim in claims]
        whole = summed(part.worth for part in parts)
        return Ablation(commit, 0, whole, _sorted(parts), ())


def ablate(history: Iterable[ev.Event], target: str) -> Ablation:
    """Return the ablation of `target` (`consensus` or a commit) from a run's events."""
    fold = AblationFold()
    for event in history:
        fold.take(event)
    return fold.ablation(fold.resolve(target))


_SURPRISES = 0.05
"""Interacting pairs that are expected where no model names one."""

_UNSEEN_VARIANCE = 1.5
"""Variance that the unseen interactions add up to for each one that is seen, in units of the
variance of a paired difference."""

_NAMEABLE_PARTS = 6
"""Parts of a stack up to which models name interactions in proportion; of more, they name as many.

With all parts counted, intervals held 82 of 100 changes in stacks of 15 where one pair in five
interacts; so they hold 93, and 97.5 (97.0) where none does.
"""


def _unseen(evidence: Evidence, parts: int) -> float:
    """Return the variance that interactions which no model names add to a part's worth.

    It grows with the number of pairs that are expected to interact by the models' weights; of
    `parts` parts, two share in each. In units of the variance of a paired difference. The three
    constants were fitted to simulated runs in which none, one in 50 or one in five pairs interacts.
    """
    named = sum(
        model.weight * sum(len(fault) > 1 for fault in model.faults) for model in evidence.models
    )
    return _UNSEEN_VARIANCE * 2 * (_SURPRISES + named) / min(parts, _NAMEABLE_PARTS)


def _by_check(
    commit: str, wanted: frozenset[int], check: StackCheck, evidence: Evidence
) -> Ablation:
    unit, arms, misfit = check.event.pair_sd, len(evidence.arms), evidence.misfit()
    unseen = _unseen(evidence, len(evidence.numbers))

    def gain(worth: Worth, beside: float = 0.0) -> Gain:
        error = math.hypot(worth.error * misfit, math.sqrt(beside))
        return Gain(worth.mean * unit, error * unit, arms)

    share = shares(sorted(wanted), lambda parts: evidence.worth(check.fit(parts)).mean * unit)
    parts = []
    for number in sorted(wanted):
        rest = check.fit(wanted - {number})
        worth, claim = evidence.worth(wanted, rest), check.claims[number]
        parts.append(
            PartWorth(
                experiment=number,
                worth=gain(worth, unseen),
                claimed=claim.gain,
                shapley=share[number],
                takes=tuple(sorted(wanted - rest - {number})),
                basis="measured",
                lines=claim.lines,
                droppable=worth.negligible >= DROPPABLE_CHANCE,
            )
        )
    whole = gain(evidence.worth(wanted))
    interactions = _interactions(wanted, evidence, unit, arms)
    return Ablation(commit, check.event.number, whole, _sorted(parts), interactions)


def _interactions(
    wanted: frozenset[int], evidence: Evidence, unit: float, arms: int
) -> tuple[PartInteraction, ...]:
    found = []
    for one, other in combinations(sorted(wanted), 2):
        chance = sum(model.weight for model in evidence.models if (one, other) in model.faults)
        if chance > 0:
            blame = evidence.blame((one, other))
            worth = Gain(blame.mean * unit, blame.error * unit, arms)
            found.append(PartInteraction(one, other, worth, chance))
    return tuple(sorted(found, key=lambda pair: (-pair.chance, pair.one, pair.other)))


def _estimate(claim: Claim) -> PartWorth:
    return PartWorth(
        experiment=claim.experiment,
        worth=claim.gain,
        claimed=claim.gain,
        shapley=claim.gain.mean,
        takes=(),
        basis="estimated",
        lines=claim.lines,
        droppable=False,
    )


def _sorted(parts: Iterable[PartWorth]) -> tuple[PartWorth, ...]:
    return tuple(sorted(parts, key=lambda part: (-part.worth.mean, part.experiment)))
