"""Void trials: how many, why, what they cost, and how long to wait before the next one.

A void trial runs again. While a disturbance lasts the next one waits, twice as long each time.
Where others keep a slice busier than its trials allow, trials there may take longer after PATIENCE
voids in a row, so that a machine that is always busy still measures, at its own noise. A candidate
whose own trials are void MAX_VOIDS_OF_CANDIDATE times in a row through what it may have caused
itself is dropped: none can keep a slice for ever.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from harness.contract import LONG_WALL, MAX_WALL, VoidCause
from islands import events as ev

PATIENCE = 2
"""Voids in a row of a busy slice after which its trials may take LONG_WALL budgets."""

MAX_VOIDS_OF_CANDIDATE = 3

MAX_PAUSE_S = 600.0

CAUSED: Final[frozenset[VoidCause]] = frozenset({"signal"})
"""Causes that a candidate may have brought about; errors of the harness are judged where they occur
(harness/faults.py)."""


class Voids:
    """The fold of void trials.

    - `causes`: void trials by cause
    - `seconds`: wall time that they took
    - `in_a_row`: void trials since the last that ended, but for those that others disturbed
    """

    def __init__(self) -> None:
        self.causes: Counter[VoidCause] = Counter()
        self.seconds = 0.0
        self.in_a_row = 0
        self._of_commit: dict[str, int] = {}
        self._on_slice: dict[str, int] = {}
        self._busy: set[str] = set()

    def voided(self, event: ev.TrialVoided) -> None:
        """Take in a void trial."""
        started, cause = event.started, event.cause
        self.causes[cause] += 1
        self.seconds += event.recorded - started.recorded
        self.in_a_row += cause not in {"busy", "still", "drift"}
        if cause in CAUSED:
            self._of_commit[started.commit] = self._of_commit.get(started.commit, 0) + 1
        if cause != "drift":
            self._on_slice[started.slice] = self._on_slice.get(started.slice, 0) + 1
        if cause == "busy" and self._on_slice[started.slice] >= PATIENCE:
            self._busy.add(started.slice)

    def ended(self, event: ev.TrialEnded) -> None:
        """Take in a trial that ended with an outcome."""
        self.in_a_row = 0
        self._of_commit.pop(event.started.commit, None)
        self._on_slice.pop(event.started.slice, None)
        budget, lost = (event.outcome.seconds.get(name, 0.0) for name in ("budget", "lost"))
        if budget + lost <= MAX_WALL * budget:
            self._busy.discard(event.started.slice)

    def max_wall(self, slice_name: str) -> float:
        """Return the wall time, in budgets, that the next trial on a slice may take."""
        return LONG_WALL if slice_name in self._busy else MAX_WALL

    def exhausted(self, commit: str, cause: VoidCause) -> bool:
        """Return whether one more void by `cause` is the last that a candidate is allowed."""
        return cause in CAUSED and self._of_commit.get(commit, 0) + 1 >= MAX_VOIDS_OF_CANDIDATE

    def pause_s(self, slice_name: str, cause: VoidCause, budget: float) -> float:
        """Return the seconds to wait after a void trial before the next one on its slice."""
        unit = {"busy": budget, "still": 1.0, "harness": 1.0}.get(cause, 0.0)
        return min(MAX_PAUSE_S, unit * 2.0 ** min(self._on_slice.get(slice_name, 1) - 1, 16))
