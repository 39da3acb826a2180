"""Prefetch depth: the number of proposals to ask for ahead, from how long answers and trials take.

A slice that takes a candidate every T seconds from an agent that needs L seconds for one has L / T
of them under way on average (Little's law). Since neither is constant, twice that and one more are
asked for: `depth` = floor(2 L / T) + 1. An agent that answers in less than half a trial is thus
asked for one, when the candidate before goes to the slice, and its feedback is one experiment old;
an agent four times as slow as a trial has up to MAX_DEPTH requests under way.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_DEPTH = 8
"""Most proposals under way or ready at one time.

A ninth would be asked for without feedback on the last eight, and eight answers to much the same
brief are enough to choose from.
"""

WEIGHT = 0.25
"""Weight of the latest duration in a running mean: two or three of them outweigh the past."""


@dataclass(slots=True)
class PrefetchDepth:
    """Running means of durations in seconds; None until the first one."""

    latency: float | None = None
    """From the request to the agent until the candidate is ready."""

    trial: float | None = None
    """A trial, the wait for a shared slice included."""

    def add_latency(self, seconds: float) -> None:
        """Add how long one proposal took to be ready."""
        self.latency = _mean(self.latency, seconds)

    def add_trial(self, seconds: float) -> None:
        """Add how long one trial took."""
        self.trial = _mean(self.trial, seconds)

    @property
    def depth(self) -> int:
        """How many proposals should be under way or ready; 1 until both durations are known."""
        if not self.latency or not self.trial:
            return 1
        return min(MAX_DEPTH, int(2 * self.latency / self.trial) + 1)


def _mean(mean: float | None, new: float) -> float:
    return new if mean is None else mean + WEIGHT * (new - mean)
