"""Moves of a slice's level between a head's score and the screen that is compared with it.

A screen compares a candidate with what its head scored a while ago. Where several in a row lose
more than the run's belief explains, or the slice may have moved for another reason, the head runs
once more on that seed, right after the candidate, and the screen counts as that pair. Commit and
seed are those of an earlier trial, so that the difference tells the move, too: from then on scores
from before it are not compared with later ones, and for some trials the slice is **unsteady**:
screens there teach no belief, and how noisy a candidate's pairs are is left to themselves.

How much screens surprise is the negative log of the chance of losing as much, added up (a CUSUM:
Page, Biometrika 1954). Losses alone count: what gains too much is measured in pairs anyway. Heads
that run again and find no move are few, or they would cost more than they save where proposals lose
more than belief can tell.

For RESTLESS_TRIALS after a move a slice is **restless**: it may move back, so that screens that
gain too much are strange as well, one alone is strange enough, and a keep needs more (MAX_SHARES
in islands/ratchet/lfsr.py). A head whose score on a fresh seed is far from its others, a pair that
is far from what the screen showed, and a sentinel off its level make a slice restless, too.

In simulation, 200 nights a cell at sigma 1, load that costs ten median gains: of `published` 1 of
166 claims is unreal where it comes in spells of ten trials (square), 3 of 306 in random bursts and
4 of 232 where it comes to stay, of `harsh` there 2 of 27, 0.1 in 1,000 trials. In 60 nights 5.6,
11.6 and 6.7 % were when screens were compared with what the head had scored whenever it did. Load
costs half of the gain in bursts, two thirds otherwise. Sentinels and heads that run again take 3 %
of the trials without load, 7 to 8 % under it (`published`, 8 nights of one and of two slices).

Not covered: a move between the two trials of one pair; candidates discarded while their slice is
unsteady are not screened again.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import median

LEAST_CHANCE = 1e-9
"""Chance below which a surprise does not grow."""

STRANGENESS = 4.0
"""Sum of what screens surprise beyond belief from which the head runs again; half may be one's."""

EXPECTED_SURPRISE = 2.0
"""Taken off each screen's surprise; screens that follow belief have 1 on average."""

MOVED_SDS = 1.5
"""Difference of two scores of one commit and seed, in standard deviations of a pair, that is a
move."""

SAME_SDS = 0.75
"""Difference up to which the level is one that the slice had before."""

UNSTEADY_TRIALS = 6
"""Trials on a slice after a move until it is steady."""

LATEST = 3
"""Repeated heads whose differences say how unsteady a slice is."""

FREE_REPEATS = 1
"""Heads that may run again and find no move, on a slice that has hardly run."""

REPEAT_SHARE = 0.02
"""The same as a share of the slice's trials, beyond these."""

REPEATS_OF_A_MOVE = 3
"""The same for each move that was found: where levels move they are looked at more often."""

RESTLESS_TRIALS = 100
"""Trials after a move in which it may move back."""


@dataclass(slots=True)
class _SliceMoves:
    """What is known of one slice.

    strangeness: the sum over its latest screens
    unsteady: trials until it is steady
    restless: trials until it is not expected to move back
    differences: by how much heads differed that ran again, the latest ones
    repeats: heads that may still run again and find no move
    """

    strangeness: float = 0.0
    unsteady: int = 0
    restless: int = 0
    differences: deque[float] = field(default_factory=lambda: deque(maxlen=LATEST))
    repeats: float = FREE_REPEATS


class LevelMoves:
    """The fold of screens and repeated heads into moves of each slice's level."""

    def __init__(self) -> None:
        self._slices: dict[str, _SliceMoves] = {}

    def trial_ended(self, name: str) -> None:
        """Take in that a trial ended on slice `name`."""
        moves = self._of(name)
        moves.unsteady, moves.restless = max(0, moves.unsteady - 1), max(0, moves.restless - 1)
        moves.repeats += REPEAT_SHARE

    def steady(self, name: str) -> bool:
        """Return whether slice `name` has not moved lately."""
        return not self._of(name).unsteady

    def restless(self, name: str) -> bool:
        """Return whether the level of slice `name` is one that moves."""
        return bool(self._of(name).restless)

    def suspect(self, name: str) -> None:
        """Take in that slice `name` may move, for all that is known."""
        self._of(name).restless = RESTLESS_TRIALS

    def unsettle(self, name: str, off: float) -> None:
        """Take in that a score on slice `name` is `off` what it was before: it may have moved."""
        moves = self._of(name)
        moves.unsteady, moves.restless = UNSTEADY_TRIALS, RESTLESS_TRIALS
        moves.differences.append(off)

    def doubt(self, name: str) -> float:
        """Return by how much a score of slice `name` may be off now, 0.0 where it is steady."""
        return 0.0 if self.steady(name) else median(self._of(name).differences)

    def strange(self, name: str, below: float) -> bool:
        """Take in a screen that had the chance `below` to gain as little or less.

        Returns whether that is strange, and the head may run again.
        """
        moves = self._of(name)
        chance = max(2 * min(below, 1 - below) if moves.restless else below, LEAST_CHANCE)
        surprise = -math.log(chance) - EXPECTED_SURPRISE
        if not moves.restless:
            surprise = min(surprise, STRANGENESS / 2)
        moves.strangeness = min(max(moves.strangeness + surprise, 0.0), STRANGENESS)
        return moves.strangeness >= STRANGENESS and self.may_repeat(name)

    def may_repeat(self, name: str) -> bool:
        """Return whether another head may run again on slice `name` though it may find no move."""
        return self._of(name).repeats >= 1

    def returned(self, name: str) -> None:
        """Take in that slice `name` is back at a level that it had while it was steady."""
        moves = self._of(name)
        moves.unsteady = 0
        moves.differences.clear()

    def repeated(self, name: str, difference: float, pair: float) -> bool:
        """Take in that a head's score on one seed differs; return whether the level has moved."""
        moves = self._of(name)
        moves.strangeness = 0.0
        if abs(difference) <= MOVED_SDS * pair:
            moves.differences.append(abs(difference))
            moves.repeats -= 1
            return False
        self.unsettle(name, abs(difference))
        moves.repeats += REPEATS_OF_A_MOVE
        return True

    def _of(self, name: str) -> _SliceMoves:
        return self._slices.setdefault(name, _SliceMoves())
