"""Contention: what other programs took of the slices, by each slice's latest trials."""

from __future__ import annotations

from dataclasses import dataclass

from islands import events as ev

NOTABLE_SLOWDOWN = 1.15
"""Wall time over budget from which a person is told."""


@dataclass(frozen=True, slots=True)
class SliceContention:
    """The latest trial of a slice.

    - `taken`: share of its cores' time that others used
    - `slowdown`: wall time of its budget over the budget
    """

    taken: float
    slowdown: float

    @property
    def notable(self) -> bool:
        """Whether a person should know."""
        return self.slowdown >= NOTABLE_SLOWDOWN

    @property
    def negligible(self) -> bool:
        """Whether it is over, as far as a person cares."""
        return self.slowdown < (1 + NOTABLE_SLOWDOWN) / 2

    def format(self, name: str) -> str:
        """Return it as a line about slice `name`."""
        return (
            f"{name}: others take {self.taken:.0%}; trials take {self.slowdown:.1f} times as long"
        )


class Contention:
    """The fold of trials into what others took.

    - `by_slice`: the latest trial of each slice
    - `lost`: seconds by which others made trials wait
    - `budget`: seconds that trials ran by their own clocks
    """

    def __init__(self) -> None:
        self.by_slice: dict[str, SliceContention] = {}
        self.lost = 0.0
        self.budget = 0.0

    def ended(self, event: ev.TrialEnded) -> None:
        """Take in a trial that ended."""
        seconds = event.outcome.seconds
        budget, lost = seconds.get("budget", 0.0), seconds.get("lost", 0.0)
        if budget <= 0:
            return
        self.lost, self.budget = self.lost + lost, self.budget + budget
        self.by_slice[event.started.slice] = SliceContention(
            event.outcome.facts.get("foreign_cpu", 0.0), (budget + lost) / budget
        )
