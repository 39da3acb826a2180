"""Disturbances of trials and proposals in a simulated world, each off by default.

Sizes of levels are in median gains of the mixture, those of spikes in sigmas; a level is how much
worse a trial scores. Progress is the share of the run's trials that have begun.

- `Drift`: one slice scores worse from some time on (from the start: a slow slice)
- `Load`: others use the machine, all the time or now and then
- `Throttling`: the machine heats up, and slows down until it is as hot as it gets
- `Wander`: each slice's level wanders within tens of trials
- `Spikes`: one score in so many is far off
- `Trend`: proposals get better (an agent that learns) or worse (gains that dry up)

Not covered: load on one slice alone; spikes that come in clusters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

LoadPattern = Literal["none", "constant", "late", "square", "bursts"]
"""Never; always; from a tenth of the run on; every other tenth of it from then on; in as many
bursts, whose times and lengths are random."""

LOAD_PATTERNS: tuple[LoadPattern, ...] = get_args(LoadPattern)

SpikeCause = Literal["trial", "seed-and-code"]
"""A spike strikes one trial alone, or each trial of one commit on one seed."""

SPIKE_CAUSES: tuple[SpikeCause, ...] = get_args(SpikeCause)

LOAD_ONSET = 0.1
"""Share of the run after which load that is not constant may come."""

LOAD_SPELL = 0.1
"""Length of a spell of load in shares of the run (bursts: on average)."""

LOAD_SWING = 0.25
"""Standard deviation of load's effect on a trial, as a share of the effect."""

ROUNDING = 1e-9
"""Keeps a spell of load from beginning a trial late."""

HEATING = 0.1
"""Share of the run in which throttling gets within 37 % of its full effect."""

Normal = Callable[[str], float]
"""Returns a standard normal number, always the same for one key."""

Uniform = Callable[[str], float]
"""Returns a number inside (0, 1), always the same for one key."""


@dataclass(frozen=True, slots=True)
class Drift:
    """A slice that scores worse from some time on.

    - `size`: by how much
    - `slice`: its name
    - `onset`: progress at which it begins
    """

    size: float
    slice: str = "s0"
    onset: float = 0.5

    def level(self, slice_: str, progress: float) -> float:
        """Return how much worse `slice_` scores now."""
        return self.size if slice_ == self.slice and progress >= self.onset else 0.0


@dataclass(frozen=True, slots=True)
class Load:
    """Programs of others on all slices at a time.

    - `pattern`: when they run
    - `size`: how much worse a trial scores beside them, on average
    """

    pattern: LoadPattern = "none"
    size: float = 0.0

    def level(self, progress: float, trial: int, normal: Normal, uniform: Uniform) -> float:
        """Return how much worse trial number `trial` scores."""
        if not self._runs(progress, uniform):
            return 0.0
        return self.size * (1 + LOAD_SWING * normal(f"load/{trial}"))

    def _runs(self, progress: float, uniform: Uniform) -> bool:
        since = (progress - LOAD_ONSET) / LOAD_SPELL + ROUNDING
        if self.pattern in ("none", "constant"):
            return self.pattern == "constant"
        if since < 0:
            return False
        if self.pattern == "late":
            return True
        if self.pattern == "square":
            return int(since) % 2 == 0
        time, spell = 0.0, 0
        while time <= since:  # exponential lengths; the first spell is a quiet one
            time -= math.log(uniform(f"spell/{spell}"))
            spell += 1
        return spell % 2 == 0


NO_LOAD = Load()


@dataclass(frozen=True, slots=True)
class Throttling:
    """A machine that slows down as it heats up.

    - `size`: how much worse it scores once it is hot
    """

    size: float = 0.0

    def level(self, progress: float) -> float:
        """Return how much worse it scores now."""
        return self.size * (1 - math.exp(-progress / HEATING)) if self.size else 0.0


NO_THROTTLING = Throttling()


@dataclass(frozen=True, slots=True)
class Wander:
    """A level that wanders, on each slice by itself.

    - `size`: its standard deviation
    - `trials`: trials of the run between two independent values
    """

    size: float = 0.0
    trials: float = 10.0

    def level(self, slice_: str, trial: int, normal: Normal) -> float:
        """Return how much worse than on average `slice_` scores at trial number `trial`."""
        if not self.size:
            return 0.0
        at, part = divmod(trial / self.trials, 1.0)
        turn = part * math.pi / 2  # between two independent numbers, with the same variance
        before, after = (normal(f"wander/{slice_}/{int(at) + step}") for step in (0, 1))
        return self.size * (before * math.cos(turn) + after * math.sin(turn))


NO_WANDER = Wander()


@dataclass(frozen=True, slots=True)
class Spikes:
    """Scores that are far worse than their kind.

    - `share`: of all scores
    - `size`: by how much on average, in sigmas
    - `cause`: what a spike is tied to
    """

    share: float = 0.0
    size: float = 50.0
    cause: SpikeCause = "trial"

    def level(self, commit: str, seed: int, trial: int, uniform: Uniform) -> float:
        """Return how much worse a trial scores, in sigmas."""
        if self.share == 0.0:
            return 0.0
        key = f"{commit}/{seed}" if self.cause == "seed-and-code" else str(trial)
        if uniform(f"spike/{key}") >= self.share:
            return 0.0
        return self.size * (0.5 + uniform(f"height/{key}"))


NO_SPIKES = Spikes()


@dataclass(frozen=True, slots=True)
class Trend:
    """Proposals that change in the course of a run.

    - `drying`: proposals after which half of what would gain does nothing any more; 0: never
    - `learning`: proposals after which half of what would gain nothing is proposed again once; 0:
      never
    """

    drying: float = 0.0
    learning: float = 0.0

    def dried(self, change: int, uniform: Uniform) -> bool:
        """Return whether a gain of `change` has dried up."""
        return bool(self.drying) and uniform(f"dry/{change}") > 0.5 ** (change / self.drying)

    def redrawn(self, change: int, uniform: Uniform) -> bool:
        """Return whether an agent knows better than to propose what `change` was first."""
        return bool(self.learning) and uniform(f"know/{change}") > 0.5 ** (change / self.learning)


NO_TREND = Trend()
