"""The lines that say when others begin to use a slice, and when it has its cores again.

One trial of 0.2 s says little: others have its core in one and not in the next. What is told is the
mean of trials that together took some seconds, so no two lines on a slice are closer than that.
Where others come and go again and again, each time takes twice as many.
"""

from __future__ import annotations

from dataclasses import dataclass

from islands import events as ev
from islands.state.contention import SliceContention

FIRST_S = 10.0
"""Seconds of trials whose mean is told."""

LONGEST_S = 640.0
"""The most that these become, however often others have come and gone."""


@dataclass(slots=True)
class _SliceNews:
    """What was told of one slice, and the sums of its trials since the last mean."""

    contended: bool = False
    wait: float = FIRST_S
    budget: float = 0.0
    wall: float = 0.0
    taken: float = 0.0
    """Seconds times the share of its cores' time that others used."""

    def add(self, event: ev.TrialEnded) -> SliceContention | None:
        """Take in a trial; return the mean where enough have come together, and begin anew."""
        seconds = event.outcome.seconds
        budget, lost = seconds.get("budget", 0.0), seconds.get("lost", 0.0)
        if budget <= 0:
            return None
        wall = budget + lost
        self.budget, self.wall = self.budget + budget, self.wall + wall
        self.taken += wall * event.outcome.facts.get("foreign_cpu", 0.0)
        if self.wall < self.wait:
            return None
        mean = SliceContention(self.taken / self.wall, self.wall / self.budget)
        self.budget = self.wall = self.taken = 0.0
        return mean


class ContentionLines:
    """Decides what a person is told of contention; trials go in as they end."""

    def __init__(self) -> None:
        self._slices: dict[str, _SliceNews] = {}

    def after(self, event: ev.TrialEnded) -> str:
        """Return the line to print after this trial, "" for none."""
        name = event.started.slice
        news = self._slices.setdefault(name, _SliceNews())
        mean = news.add(event)
        if mean is None:
            return ""
        if mean.notable and not news.contended:
            news.contended = True
            return mean.format(name)
        if mean.negligible and news.contended:
            news.contended = False
            news.wait = min(LONGEST_S, 2 * news.wait)
            return f"{name}: has its cores to itself again"
        return ""
