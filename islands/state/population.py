"""The population: islands, what each has kept, and what it is trying, as the fold has them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.contract import Slice
from islands import events as ev
from islands.records import Attempt, Ending, Gain
from islands.state.lifecycle import ExperimentState

RECENT = 24
"""Attempts that an island remembers for its agent's briefs."""


@dataclass(slots=True)
class Experiment:
    """One proposal's whole life, while it is open.

    A `null` proposal does nothing (islands/genome/null_edits.py).
    `parent` is the head that `commit` was made on, or made anew on since; `received` is when it was
    proposed. `screened` and `confirmed` are the candidate's scores by seed, `screen_gain` the gain
    over the head that the first of them shows, corrected for slices that differ; `head_broken` are
    the fresh seeds on which the head itself failed, which make no pair.
    `origin` is the experiment that made the change elsewhere, 0 for a change of the island's own;
    `lines` counts those that it adds to `parent` less those that it removes.
    `confirm_turn` counts, from 1, the run's experiments that came to be confirmed.
    """

    number: int
    island: str
    parent: str
    hypothesis: str
    notes: Mapping[str, str | float]
    null: bool = False
    received: float = 0.0
    state: ExperimentState = "proposed"
    confirm_turn: int = 0
    commit: str = ""
    screened: dict[int, float] = field(default_factory=dict)
    screen_gain: float = 0.0
    confirmed: dict[int, float] = field(default_factory=dict)
    head_broken: set[int] = field(default_factory=set)
    origin: int = 0
    lines: int = 0


@dataclass(frozen=True, slots=True)
class KeptChange:
    """A change that an island's head is built on.

    `origin` is the experiment that first made it, here or elsewhere: equal in all its copies.
    `island` kept it, on a device of class `device`; others may have caught up with it since.
    """

    experiment: int
    commit: str
    parent: str
    hypothesis: str
    gain: Gain
    origin: int
    island: str = ""
    device: str = ""


@dataclass(frozen=True, slots=True)
class Nulls:
    """How many proposals that do nothing came to a verdict, and how many of them to a keep.

    Such a keep moves no head and claims nothing: it says what the run's keeps are worth.
    """

    tried: int = 0
    kept: int = 0


@dataclass(slots=True)
class IslandState:
    """An island's head, what it is trying, and what it has come to.

    `experiment` is the one that is being measured, `queue` are those that have not come to it.
    Its trials run on `slice`, which is its `home` but while that is set apart.
    """

    opened: ev.IslandOpened
    head: str
    home: Slice
    slice: Slice
    experiment: Experiment | None = None
    queue: list[Experiment] = field(default_factory=list)
    kept: list[KeptChange] = field(default_factory=list)
    recent_attempts: deque[Attempt] = field(default_factory=lambda: deque(maxlen=RECENT))
    endings: dict[Ending, int] = field(default_factory=dict)
    agent_failures: int = 0
    agent_failures_in_a_row: int = 0
    refusals_in_a_row: int = 0
    trials: int = 0
    budget_seconds: float = 0.0
    wall: float = 0.0
    last_active: float | None = None
    usd: float = 0.0
    tokens: int = 0

    @property
    def heads(self) -> tuple[str, ...]:
        """Return its head and those that it is built on, oldest first."""
        return (self.opened.head, *(each.commit for each in self.kept))

    def needs(self, commit: str) -> bool:
        """Return whether it builds on `commit`, or may yet fall back to it."""
        open_ = self.experiment is not None and self.experiment.parent == commit
        return open_ or commit == self.head or any(commit == each.commit for each in self.kept)
