"""Use of the seconds that trials may take: all of them, or a rung's seconds are only a limit."""

from __future__ import annotations

from collections.abc import Sequence

from harness.contract import Rung
from islands import events as ev

WHOLE = 0.75
"""Share of their seconds from which trials are taken to use them all.

A training run ends with its budget, less what it takes to start and to save; a benchmark ends when
it is done, whatever it may take.
"""


class TimeUse:
    """The fold of trials that have a score; `used` and `allowed` are seconds by their clocks."""

    def __init__(self) -> None:
        self.used = 0.0
        self.allowed = 0.0

    def ended(self, event: ev.TrialEnded, rungs: Sequence[Rung]) -> None:
        """Take in a trial that ended."""
        used = event.outcome.seconds.get("budget")
        if event.outcome.score is not None and used is not None:
            self.used += used
            self.allowed += rungs[event.started.rung].seconds * event.started.share

    @property
    def whole(self) -> bool:
        """Whether more seconds would change what a trial does."""
        return self.used >= WHOLE * self.allowed
