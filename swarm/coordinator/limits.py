"""The limits of a launch: which is reached, and what still fits."""

from __future__ import annotations

import asyncio
import math
import sys
from dataclasses import dataclass, field

from harness.contract import Rung
from islands.records import RunLimit
from islands.state.run_state import State
from swarm.coordinator.launch_plan import RunLimits


@dataclass(slots=True)
class LimitChecker:
    """Checks `limits` against the trials in `state` and the event loop's clock.

    Minutes count from when this was made. Money and tokens are checked where they are spent
    (swarm/agents/llm/budget.py).
    """

    limits: RunLimits
    state: State
    _start: float = field(default_factory=lambda: asyncio.get_running_loop().time())

    def reached(self, rung: Rung) -> RunLimit | None:
        """Return the limit that one more trial at `rung` would exceed, None if it fits.

        No trial starts that could not end in time.
        """
        deadline = self.last_start(rung)
        if deadline is not None and asyncio.get_running_loop().time() > deadline:
            return "minutes"
        if self.limits.trials is not None and self.state.trials >= self.limits.trials:
            return "trials"
        return None

    def last_start(self, rung: Rung) -> float | None:
        """Return the loop time after which no trial at `rung` may start, None for no limit."""
        minutes = self.limits.minutes
        return None if minutes is None else self._start + minutes * 60 - rung.seconds

    @property
    def deadline(self) -> float | None:
        """The loop time at which the launch ends, None for no limit."""
        minutes = self.limits.minutes
        return None if minutes is None else self._start + minutes * 60

    def budgets_left(self, rung: Rung) -> float:
        """Return how many budgets of `rung` fit into the minutes that are left, at least one."""
        last = self.last_start(rung)
        if last is None:
            return math.inf
        return 1 + max(0.0, last - asyncio.get_running_loop().time()) / rung.seconds

    def trials_left(self, rung: Rung) -> int:
        """Return how many more trials may start; more proposals than that cannot be measured."""
        if self.reached(rung) is not None:
            return 0
        max_trials = self.limits.trials
        return sys.maxsize if max_trials is None else max_trials - self.state.trials

    def fits(self, trials: int, seconds: float) -> bool:
        """Return whether so many more trials and seconds stay within the limits."""
        limits, spent = self.limits, asyncio.get_running_loop().time() - self._start
        in_time = limits.minutes is None or spent + seconds <= limits.minutes * 60
        return in_time and (limits.trials is None or self.state.trials + trials <= limits.trials)
