"""The limits of a launch: which is reached, and what still fits."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.contract import Rung, SetupError
from islands.events.steering import LimitName, ProgramRevised
from islands.records import RunLimit
from islands.state.run_state import State
from swarm.coordinator.launch_plan import RunLimits


@dataclass(slots=True)
class LimitChecker:
    """Checks the limits of a launch against `state` and the event loop's clock.

    Those of the `plan` hold unless a person has set others (`RunLimits.over`). Minutes count from
    when this was made. Money and tokens are checked where they are spent
    (swarm/agents/llm/budget.py).
    """

    plan: RunLimits
    state: State
    _start: float = field(default_factory=lambda: asyncio.get_running_loop().time())

    @property
    def limits(self) -> RunLimits:
        """The limits as they are now."""
        return self.plan.over(self.state.steering)

    def reached(self, rung: Rung) -> RunLimit | None:
        """Return the limit that one more trial at `rung` would exceed, None if it fits.

        No trial starts that could not end in time.
        """
        if self.state.steering.stop_asked:
            return "person"
        deadline = self.last_start(rung)
        if deadline is not None and asyncio.get_running_loop().time() > deadline:
            return "minutes"
        if self.limits.trials is not None and self.state.trials >= self.limits.trials:
            return "trials"
        return self._found_enough()

    def _found_enough(self) -> RunLimit | None:
        """Return the limit that the results so far have reached."""
        limits, state = self.limits, self.state
        if limits.stop_at is not None and has_reached(state, limits.stop_at):
            return "score"
        if limits.stall is not None and state.claimless >= limits.stall:
            return "stall"
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
        return sys.maxsize if max_trials is None else max(0, max_trials - self.state.trials)

    def left(self) -> str:
        """Return what is left of time, trials and dollars in words, "" where nothing is limited."""
        limits, parts = self.limits, list[str]()
        if self.deadline is not None:
            seconds = max(0.0, self.deadline - asyncio.get_running_loop().time())
            parts.append(f"{seconds / 60:.0f} minutes")
        if limits.trials is not None:
            parts.append(f"{max(0, limits.trials - self.state.trials)} trials")
        if limits.usd is not None:
            parts.append(f"${max(0.0, limits.usd - self.state.usd):.2f}")
        return ", ".join(parts)

    def fits(self, trials: int, seconds: float) -> bool:
        """Return whether so many more trials and seconds stay within the limits."""
        limits, spent = self.limits, asyncio.get_running_loop().time() - self._start
        in_time = limits.minutes is None or spent + seconds <= limits.minutes * 60
        return in_time and (limits.trials is None or self.state.trials + trials <= limits.trials)


def require_trials_left(
    plan: RunLimits, past: State, revision: ProgramRevised | None = None
) -> None:
    """Raise SetupError where a resumed run has had all its trials: the launch would do nothing.

    A limit that `revision` takes up from program.md holds over what `swarm limits` had set, and so
    does one that the launch asks for: it is the later word, also on a run that was stopped.
    """
    revised = revision is not None and "trials" in revision.limits
    newest = revised or "trials" in plan.asked
    trials = plan.trials if newest else plan.over(past.steering).trials
    if past.opened is None or trials is None or past.trials < trials:
        return
    fix = "raise `trials` under `limits` in program.md and commit it"
    if not revised and "trials" in past.steering.limits:
        fix = "`swarm limits --trials N` (or `none`), which set this one over program.md"
    raise SetupError(
        f"run {past.run.run} has had {past.trials} trials, and its limit is {trials}: add"
        f" `--trials N` for N more, or {fix}"
    )


def passed(limits: Mapping[LimitName, float | None], state: State) -> list[str]:
    """Return in words which of these limits a run has reached already."""
    counts: dict[LimitName, tuple[float, str]] = {
        "trials": (state.trials, f"{state.trials} trials"),
        "usd": (state.usd, f"${state.usd:.2f}"),
        "tokens": (state.tokens, f"{state.tokens} tokens"),
        "stall": (state.claimless, f"{state.claimless} trials without a claim"),
    }
    reached = [
        words
        for name, (count, words) in counts.items()
        if (limit := limits.get(name)) is not None and count >= limit
    ]
    score = limits.get("stop_at")
    if score is not None and has_reached(state, score):
        reached.append("a head with that score")
    return reached


def has_reached(state: State, score: float) -> bool:
    """Return whether the mean score of an island's head is at least as good as `score`."""
    means = (state.scores.mean(island.head) for island in state.islands.values())
    sign = 1 if state.direction == "maximize" else -1
    return any(mean is not None and sign * mean >= sign * score for mean in means)
