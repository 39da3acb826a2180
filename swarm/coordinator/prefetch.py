"""How far ahead of its slice an island asks: from how long answers and trials take, as seen so far.

A slice that takes a candidate every T seconds from an agent that needs L seconds for one has
L / T of them under way on average (Little's law). Twice that and one more are asked for, since
neither L nor T is constant: `depth` = floor(2 L / T) + 1. So an agent that answers in less than
half a trial is asked for one, when the one before goes to the slice, and its feedback is one
experiment old; an agent four times as slow as a trial has up to eight under way.

MAX_DEPTH bounds that: an agent asked for the ninth has not been told how the last eight ended,
and eight answers to much the same brief are enough to choose from.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_DEPTH = 8
"""Proposals that are under way or ready at one time, at most."""

WEIGHT = 0.25
"""Of the latest duration in a running mean: it forgets half of the past in two or three."""


@dataclass(slots=True)
class PrefetchDepth:
    """Running means in seconds; None while there is nothing to go by.

    `latency` is from asking an agent until a candidate of its is ready, `trial` how long a trial
    holds the island up, its turn on a shared slice included.
    """

    latency: float | None = None
    trial: float | None = None

    def add_latency(self, seconds: float) -> None:
        """Take in how long one proposal took to be ready."""
        self.latency = _mean(self.latency, seconds)

    def add_trial(self, seconds: float) -> None:
        """Take in how long one trial took."""
        self.trial = _mean(self.trial, seconds)

    @property
    def depth(self) -> int:
        """How many proposals should be under way or ready, 1 while nothing is known."""
        if not self.latency or not self.trial:
            return 1
        return min(MAX_DEPTH, int(2 * self.latency / self.trial) + 1)


def _mean(known: float | None, new: float) -> float:
    return new if known is None else known + WEIGHT * (new - known)
