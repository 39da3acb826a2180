"""Moves of a slice's level between a head's score and the screen that is compared with it.

A screen compares a candidate with what its head scored a while ago. Where it loses or gains more
than the run's belief explains, or the slice may have moved for another reason, the head runs once
more on that seed, right after the candidate, and the screen counts as that pair. Commit and seed
are those of an earlier trial, so that the difference tells the move, too: from then on scores from
before it are not compared with later ones, and for some trials the slice is **unsteady**: screens
there teach no belief, and how noisy a candidate's pairs are is left to themselves.

Small moves show in many screens: each adds its surprise, the negative log of the chance of a gain
as strange, to a sum (a CUSUM: Page, Biometrika 1954).

A head whose score on a fresh seed is far from its others makes its slice unsteady, too.

In simulation, 40 nights a cell, load that costs ten sigmas in spells of ten trials (square) or in
random bursts: 0.0 and 4.2 % of claims are unreal in `published`, where 5.6 and 11.6 % (60 nights)
were when screens were compared with what the head had scored whenever it did; 1 of 16 claims in
`harsh`, 0.25 in 1,000 trials, where 12 % were. It costs gain: 6.2 for 7.8, 8.1 for 8.9, and 0.9 for
2.0 thousandths. Without load it costs about one trial a night.

Not covered: a move between the two trials of one pair; candidates discarded while their slice is
unsteady are not screened again.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import median

STRANGE_CHANCE = 0.005
"""Chance of a gain as far from what is believed, to either side, from which the head runs again."""

STRANGENESS = 4.0
"""Sum of what screens surprise beyond belief from which it does so, too."""

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


@dataclass(slots=True)
class _SliceMoves:
    """What is known of one slice.

    strangeness: the sum over its latest screens
    since: trials since its latest move, None before any
    differences: by how much heads differed that ran again, the latest ones
    """

    strangeness: float = 0.0
    since: int | None = None
    differences: deque[float] = field(default_factory=lambda: deque(maxlen=LATEST))


class LevelMoves:
    """The fold of screens and repeated heads into moves of each slice's level."""

    def __init__(self) -> None:
        self._slices: dict[str, _SliceMoves] = {}

    def trial_ended(self, name: str) -> None:
        """Take in that a trial ended on slice `name`."""
        moves = self._of(name)
        if moves.since is not None:
            moves.since += 1

    def steady(self, name: str) -> bool:
        """Return whether slice `name` has not moved lately."""
        since = self._of(name).since
        return since is None or since >= UNSTEADY_TRIALS

    def unsettle(self, name: str, off: float) -> None:
        """Take in that a head scored `off` its other seeds: slice `name` may have moved."""
        moves = self._of(name)
        moves.since = 0
        moves.differences.append(off)

    def doubt(self, name: str) -> float:
        """Return by how much a score of slice `name` may be off now, 0.0 where it is steady."""
        return 0.0 if self.steady(name) else median(self._of(name).differences)

    def strange(self, name: str, below: float) -> bool:
        """Take in a screen that had the chance `below` to gain as little or less.

        Returns whether that is strange.
        """
        moves = self._of(name)
        chance = max(2 * min(below, 1 - below), 1e-9)
        moves.strangeness += -math.log(chance) - EXPECTED_SURPRISE
        moves.strangeness = min(max(moves.strangeness, 0.0), STRANGENESS)
        return chance < STRANGE_CHANCE or moves.strangeness >= STRANGENESS

    def returned(self, name: str) -> None:
        """Take in that slice `name` is back at a level that it had while it was steady."""
        self._slices[name] = _SliceMoves()

    def repeated(self, name: str, difference: float, pair: float) -> bool:
        """Take in that a head's score on one seed differs; return whether the level has moved."""
        moves = self._of(name)
        moves.strangeness = 0.0
        moves.differences.append(abs(difference))
        if abs(difference) <= MOVED_SDS * pair:
            return False
        moves.since = 0
        return True

    def _of(self, name: str) -> _SliceMoves:
        return self._slices.setdefault(name, _SliceMoves())
