"""Events of stacks: stack checks, promotions, the consensus and the sealed split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from islands.records import Agreement, Contender, Gain, Measured

StackVerdict = Literal["additive", "short", "redundant", "antagonistic", "conflict"]
"""Result of a stack check: the whole is worth the sum of its parts (additive); less (short); no
more than without some of them (redundant); less than nothing or than its best part (antagonistic);
or the parts do not apply together (conflict)."""

Transfer = Literal["transfers", "fades", "reverses"]
"""Result of a promotion at its rung: better than the base (transfers), not shown to be (fades), or
worse (reverses)."""


@dataclass(frozen=True, slots=True)
class StackCheckStarted:
    """A stack check began.

    number: number of the check, from 1
    base: commit that the changes are applied to
    parts: experiments whose changes are checked, strongest evidence first
    pair_sd: standard deviation of a paired difference, as estimated then, in units of the metric
    """

    number: int
    base: str
    parts: tuple[int, ...]
    pair_sd: float = 1.0
    recorded: float = 0.0
    kind: Literal["stack_check_started"] = "stack_check_started"


@dataclass(frozen=True, slots=True)
class StackCheckAssembled:
    """A stack check applied a combination of changes.

    number: number of the check
    parts: experiments whose changes were applied, in order
    commit: the result, "" if they conflict
    conflict: files in which they conflict, "" if they do not
    base: commit that they were applied to
    stuck: experiment whose change does not apply after those before it, 0 for none
    """

    number: int
    parts: tuple[int, ...]
    commit: str
    conflict: str = ""
    base: str = ""
    stuck: int = 0
    recorded: float = 0.0
    kind: Literal["stack_check_assembled"] = "stack_check_assembled"


@dataclass(frozen=True, slots=True)
class StackCheckEnded:
    """A stack check ended. Gains are in units of the metric.

    number: number of the check
    verdict: what it found
    commit: the stack that remains
    parts: experiments in that stack
    dropped: experiments of the check that are not
    culprits: experiments, or sets of them, that the verdict is about
    expected: sum of the gains of all parts that apply together
    observed: gain of all these together over the base
    interaction: `observed` less `expected`
    lines_saved: lines that the dropped changes would have added
    blame: for each of `culprits`, its gain less what was expected of it
    gain: gain of `commit` over the base, by all evidence
    """

    number: int
    verdict: StackVerdict
    commit: str
    parts: tuple[int, ...]
    dropped: tuple[int, ...]
    culprits: tuple[tuple[int, ...], ...]
    expected: Gain
    observed: Gain
    interaction: Gain
    lines_saved: int = 0
    blame: tuple[Gain, ...] = ()
    gain: Gain | None = None
    recorded: float = 0.0
    kind: Literal["stack_check_ended"] = "stack_check_ended"


@dataclass(frozen=True, slots=True)
class PromotionStarted:
    """A stack is measured again at a higher rung.

    number: number of the promotion, from 1
    rung: level of fidelity, counted from 0
    base: commit that it is compared with
    commit: the stack
    parts: experiments in the stack
    before: its gain so far
    contenders: its parts and the best near misses, strongest evidence first
    seeds: pairs on the stack
    trials: most trials that the promotion may take
    hidden: whether the hidden split is queried
    timed: whether time to target is measured
    stack: number of the stack check that it comes from, 0 for an island's head
    """

    number: int
    rung: int
    base: str
    commit: str
    parts: tuple[int, ...]
    before: Gain
    contenders: tuple[Contender, ...]
    seeds: int
    trials: int
    hidden: bool = False
    timed: bool = True
    stack: int = 0
    recorded: float = 0.0
    kind: Literal["promotion_started"] = "promotion_started"


@dataclass(frozen=True, slots=True)
class PromotionEnded:
    """A promotion ended.

    number, rung, base, commit, parts: as it started
    verdict: transfers, fades or reverses
    reason: why, in a line
    before: the stack's gain at the rung below
    after: its gain at this rung
    contenders: what was measured of the contenders
    agreement: how well the contenders' gains at the two rungs agree in order
    hidden: whether the stack is better on the hidden split, None if that was not queried
    target: the base's dev score on the rung's whole budget
    reached: seconds that the stack needs for it; 0.0 if not measured or not reached
    low, high: seconds between which `reached` lies
    """

    number: int
    rung: int
    base: str
    commit: str
    parts: tuple[int, ...]
    verdict: Transfer
    reason: str
    before: Gain
    after: Gain
    contenders: tuple[Measured, ...] = ()
    agreement: Agreement | None = None
    hidden: bool | None = None
    target: float = 0.0
    reached: float = 0.0
    low: float = 0.0
    high: float = 0.0
    recorded: float = 0.0
    kind: Literal["promotion_ended"] = "promotion_ended"


@dataclass(frozen=True, slots=True)
class ConsensusDrafted:
    """The parts of a promoted stack were committed one after the other.

    All but the last commit are run once before the consensus moves, so that `git bisect` works.

    promotion: number of the promotion
    base: commit that they are built on
    changes: the commits, oldest first
    """

    promotion: int
    base: str
    changes: tuple[str, ...]
    recorded: float = 0.0
    kind: Literal["consensus_drafted"] = "consensus_drafted"


@dataclass(frozen=True, slots=True)
class ConsensusMoved:
    """The consensus branch moved.

    promotion: number of the promotion that it comes from
    base: commit that it is built on
    old: commit that the branch was at, "" for none
    commit: commit that it is at now
    parts: experiments in it
    changes: its commits, oldest first, one for each part; a part after which the genome does not
      run shares a commit with the next
    """

    promotion: int
    base: str
    old: str
    commit: str
    parts: tuple[int, ...]
    changes: tuple[str, ...]
    recorded: float = 0.0
    kind: Literal["consensus_moved"] = "consensus_moved"


@dataclass(frozen=True, slots=True)
class SealedScored:
    """The sealed split was scored, once in the run.

    commit, base: what was compared
    gain: gain of `commit` over `base` there
    """

    commit: str
    base: str
    gain: Gain
    recorded: float = 0.0
    kind: Literal["sealed_scored"] = "sealed_scored"
