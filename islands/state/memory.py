"""Memory of changes: what came of each, and whether it may be tried again. Pure.

Two candidates are one change where the digests of their normal forms are equal
(islands/genome/normal_change.py): they do the same thing at the same place. Their heads are then
**near ancestors** of each other, if neither holds more than NEAR_KEEPS kept changes that the other
lacks.

| what came of it | on the same head | on a near ancestor |
| --- | --- | --- |
| kept, and some head that may reach the island holds it | answered | answered |
| refuted: shown to be worse, or its code fails | answered | answered |
| open: a near miss, one pair, a time-out, always void | answered: noise is no news | tried again |
| void, outdated, refused | tried again | tried again |

Not covered: a change whose worth another kept change turned round, in other lines than its own and
fewer than NEAR_KEEPS keeps ago, is answered with figures that no longer hold. Ledgers of versions
that recorded no digests are not remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, replace

from islands.ratchet.acceptance import NEAR_MISS
from islands.records import Ending, Gain
from islands.state.voids import CHECKS_VOID, TRIALS_VOID

REPEAT = "repeat"
"""Rule that refuses a proposal that the memory answers."""

CLAIMED = "claimed"
"""Rule that refuses a proposal whose change another experiment is trying now."""

NEAR_KEEPS = 8
"""Kept changes that one of two near heads may hold and the other lack."""

MAX_CHANGES = 20_000
"""Changes remembered: those of the latest experiments."""

_UNKNOWN = (
    "timeout",
    f"crash: {TRIALS_VOID}",
    f"check: {CHECKS_VOID}",
    "check: the checks were void",  # in older ledgers
)
"""How the reasons of failures begin that do not show a change to be worse."""

REFUTED_LFSR = 0.9
"""Chance of no gain from which a discarded change counts as refuted, where the rule says one."""


@dataclass(frozen=True, slots=True)
class PastChange:
    """An experiment that ended.

    experiment, island: which one, and where
    commit, parent: the candidate, and the head that it was compared with
    held: experiments that first made the changes which that head held
    ending, reason, gain: what came of it
    """

    experiment: int
    island: str
    commit: str
    parent: str
    held: frozenset[int]
    ending: Ending
    reason: str
    gain: Gain | None

    @property
    def refuted(self) -> bool:
        """Whether it was shown to be worse, or not to run."""
        if self.ending == "failed":
            return not self.reason.startswith(_UNKNOWN)
        if self.ending != "discarded" or self.gain is None or self.reason.startswith(NEAR_MISS):
            return False
        return self.gain.lfsr >= REFUTED_LFSR or self.gain.mean <= -self.gain.noise

    @property
    def open(self) -> bool:
        """Whether it was measured, or could not be, and neither kept nor refuted."""
        return self.ending in {"discarded", "failed"} and not self.refuted


@dataclass(frozen=True, slots=True)
class Recalled:
    """A past experiment that answers a proposal; `same_head`: it was tried on that very head."""

    past: PastChange
    same_head: bool


class ChangeMemory:
    """The ended experiments of each change, by the digest of its normal form."""

    def __init__(self) -> None:
        self._past: OrderedDict[str, list[PastChange]] = OrderedDict()
        self._change_of: dict[int, str] = {}

    def add(self, change: str, past: PastChange) -> None:
        """Remember how an experiment ended; one that tells nothing is left out."""
        if not change or past.ending not in {"kept", "discarded", "failed"}:
            return
        self._past.setdefault(change, []).append(past)
        self._past.move_to_end(change)
        self._change_of[past.experiment] = change
        while len(self._past) > MAX_CHANGES:
            _, forgotten = self._past.popitem(last=False)
            for each in forgotten:
                self._change_of.pop(each.experiment, None)

    def drop(self, experiments: Collection[int]) -> None:
        """Forget experiments that turned out void."""
        for number in experiments:
            change = self._change_of.pop(number, None)
            if change is not None:
                left = [past for past in self._past[change] if past.experiment != number]
                self._past[change] = left

    def quarantine(self, commits: Collection[str], reason: str) -> None:
        """Take in that commits are invalid: as changes they failed, as heads they tell nothing."""
        for change, pasts in self._past.items():
            if all(past.commit not in commits and past.parent not in commits for past in pasts):
                continue
            sound = [past for past in pasts if past.parent not in commits]
            for past in pasts:
                if past.parent in commits:
                    self._change_of.pop(past.experiment, None)
            self._past[change] = [
                replace(past, ending="failed", reason=reason, gain=None)
                if past.commit in commits
                else past
                for past in sound
            ]

    def of(self, experiment: int) -> PastChange | None:
        """Return what is remembered of an experiment."""
        pasts = self._past.get(self._change_of.get(experiment, ""), [])
        return next((past for past in pasts if past.experiment == experiment), None)

    def recall(
        self, change: str, head: str, held: frozenset[int], reachable: Collection[int]
    ) -> Recalled | None:
        """Return the experiment that answers a proposal of `change` on `head`, None for none.

        `held`: experiments that first made the changes which the head holds. `reachable`: those of
        which the island holds the change, or may still get it from another one.
        """
        answers = [
            Recalled(past, same_head=past.parent == head)
            for past in self._past.get(change, [])
            if _answers(past, head, held, reachable)
        ]
        return max(answers, key=lambda one: (one.same_head, one.past.experiment), default=None)


def _answers(past: PastChange, head: str, held: frozenset[int], reachable: Collection[int]) -> bool:
    if past.ending == "kept":
        return past.experiment in reachable
    same = past.parent == head
    near = max(len(past.held - held), len(held - past.held)) <= NEAR_KEEPS
    return same or (near and past.refuted)
