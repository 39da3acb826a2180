"""Fresh data of a run: which pieces are spent, and which changes were checked on one.

A piece is spent once a trial on it has begun, whatever became of that trial: a sandbox may have
held it. When all are spent, changes are kept on dev alone, and the record says so.
"""

from __future__ import annotations

from islands import events as ev


class FreshData:
    """The fold of what was asked about fresh data.

    spent: number of the last piece that a trial was scored on
    passed: experiments whose gain held there
    """

    def __init__(self) -> None:
        self.spent = 0
        self.passed: set[int] = set()

    def started(self, event: ev.TrialStarted) -> None:
        """Take in the start of a trial."""
        self.spent = max(self.spent, event.fresh)

    def checked(self, event: ev.FreshChecked) -> None:
        """Take in a check's result."""
        if event.ok:
            self.passed.add(event.experiment)

    def next_piece(self, run: ev.RunOpened) -> int:
        """Return the number of the next piece, 0 where none is left."""
        return self.spent + 1 if self.spent < run.fresh else 0
