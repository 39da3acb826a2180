"""The ended experiments of a run, all islands', for agents that ask what was tried. Pure.

Only what was measured, or ran and broke, is held: kept, discarded and failed experiments.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from islands.records import Attempt

MAX_ATTEMPTS = 5_000
"""Experiments held: the latest."""

TELLING = frozenset({"kept", "discarded", "failed"})
"""Endings that say something of the change."""


@dataclass(frozen=True, slots=True)
class EndedAttempt:
    """An experiment that ended; `commit`: its candidate, `parent`: the head it was compared with.

    commit: "" where it never became one
    """

    attempt: Attempt
    commit: str
    parent: str


class EndedAttempts:
    """The latest ended experiments, by number."""

    def __init__(self) -> None:
        self._by_number: OrderedDict[int, EndedAttempt] = OrderedDict()

    def __iter__(self) -> Iterator[EndedAttempt]:
        """Yield them, the latest first."""
        return reversed(self._by_number.values())

    def __len__(self) -> int:
        return len(self._by_number)

    def add(self, ended: EndedAttempt) -> None:
        """Hold an experiment, unless its ending tells nothing of the change."""
        if ended.attempt.ending not in TELLING:
            return
        self._by_number[ended.attempt.experiment] = ended
        while len(self._by_number) > MAX_ATTEMPTS:
            self._by_number.popitem(last=False)

    def drop(self, experiments: Collection[int]) -> None:
        """Forget experiments that turned out void."""
        for number in experiments:
            self._by_number.pop(number, None)
