"""The population: islands, the changes that each kept, and its open experiments."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.contract import Slice
from islands import events as ev
from islands.ratchet.simpler import may_have_lost
from islands.records import Attempt, Ending, Gain
from islands.state.lifecycle import ExperimentState

RECENT = 24
"""Number of latest attempts that an island remembers for its agent's briefs."""


@dataclass(slots=True)
class FreshCheck:
    """An open experiment's check on fresh data (islands/ratchet/fresh.py).

    trial, seed, piece: the candidate's trial, "" before it, with its seed and its piece of data
    parts: the scores by part of candidate and head, by commit
    done: whether the candidate passed
    """

    trial: str = ""
    seed: int = 0
    piece: int = 0
    parts: dict[str, Mapping[str, tuple[float, ...]]] = field(default_factory=dict)
    done: bool = False

    def forget(self) -> None:
        """Drop a check that was not brought to an end; its piece stays spent."""
        self.trial, self.seed, self.piece = "", 0, 0
        self.parts.clear()


@dataclass(slots=True)
class Experiment:
    """An open experiment.

    number, island: which one, and where
    parent: the head that `commit` was made on or last rebased onto
    hypothesis, notes: what the agent expects, and wants to see again
    null: the proposal does nothing (islands/genome/null_edits.py)
    received: when it was proposed, seconds since the epoch
    state: its state in the lifecycle
    confirm_turn: its place, from 1, among the run's experiments that reached confirmation, 0: none
    commit: the candidate, "" before admission
    screened, confirmed: the candidate's scores by seed
    screen_gain: the gain that the screening trial shows, corrected for slices that differ
    doubtful: whether its head is to run again beside the screening trial
    steady: whether the level of its slice has not moved of late
    screen_doubt: by how much it was seen to have moved beside the screening trial
    head_broken: fresh seeds on which the head failed; they make no pair
    origin: experiment that made the change elsewhere, 0 for a change of the island's own
    lines: lines added less lines removed
    code: lines of code added less those removed
    agent: who proposed it, "" for a migrant
    change: digest of what the candidate does and where, "" if not known
    repeats, claimed: experiment of the same change, 0 for none, and whether it had not ended
    checked, tail: whether the candidate passed the problem's checks, and what a failed one printed
    fresh: its check on fresh data
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
    doubtful: bool = False
    steady: bool = True
    screen_doubt: float = 0.0
    confirmed: dict[int, float] = field(default_factory=dict)
    head_broken: set[int] = field(default_factory=set)
    origin: int = 0
    lines: int = 0
    code: int = 0
    agent: str = ""
    change: str = ""
    repeats: int = 0
    claimed: bool = False
    checked: bool = False
    tail: str = ""
    fresh: FreshCheck = field(default_factory=FreshCheck)


@dataclass(frozen=True, slots=True)
class KeptChange:
    """A change that an island's head is built on.

    experiment, commit, parent, hypothesis: of the experiment that kept it
    gain: gain of `commit` over `parent` when it was kept
    origin: experiment that first made the change, equal in all its copies
    island: island that kept it; others may have adopted it since
    device: class of the device that measured it
    simpler: whether it was kept because it is shorter and no worse
    """

    experiment: int
    commit: str
    parent: str
    hypothesis: str
    gain: Gain
    origin: int
    island: str = ""
    device: str = ""
    simpler: bool = False

    @property
    def both(self) -> tuple[int, int]:
        """The experiments that kept the change here and that first made it."""
        return self.experiment, self.origin


@dataclass(frozen=True, slots=True)
class Nulls:
    """Counts of null proposals, which do nothing: those with a verdict, and those kept.

    A kept one moves no head and claims nothing: it shows how often the ratchet keeps by mistake.
    """

    tried: int = 0
    kept: int = 0


@dataclass(slots=True)
class IslandState:
    """An island: its head, its open experiments, and its totals.

    opened: the event that opened it
    head: commit id of its head
    home, slice: its own slice, and the one that its trials run on (another while `home` is
      quarantined)
    experiment: the experiment that is being measured
    queue: experiments not measured yet
    kept: changes that its head is built on, oldest first
    recent_attempts: its latest ended experiments
    endings: number of experiments by ending
    agent_failures, agent_failures_in_a_row, refusals_in_a_row: of its agent
    restarted: whether a person restarted it and it has kept nothing since
    repeats_in_a_row: proposals of its agent that repeated what was tried
    claims_in_a_row: those that repeated what is being tried
    exhausted: why its agent has nothing left to try on the head, "" while it may have
    trials: trials started, voided ones left out
    budget_seconds, wall: seconds of its trials' budgets used, and of wall time since the first
    last_active: when `wall` was last brought up to date, None while no coordinator runs
    usd, tokens: spent by its agent
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
    restarted: bool = False
    repeats_in_a_row: int = 0
    claims_in_a_row: int = 0
    exhausted: str = ""
    trials: int = 0
    budget_seconds: float = 0.0
    wall: float = 0.0
    last_active: float | None = None
    usd: float = 0.0
    tokens: int = 0

    @property
    def heads(self) -> tuple[str, ...]:
        """Its head and the heads that it is built on, oldest first."""
        return (self.opened.head, *(change.commit for change in self.kept))

    @property
    def held(self) -> frozenset[int]:
        """The experiments that first made the changes which its head is built on."""
        return frozenset(change.origin for change in self.kept)

    @property
    def lost_to_simplicity(self) -> float:
        """What its simplifications may have lost together, in the metric's unit."""
        return sum(may_have_lost(change.gain) for change in self.kept if change.simpler)

    def needs(self, commit: str) -> bool:
        """Return whether the island builds on `commit` or may still fall back to it."""
        open_ = self.experiment is not None and self.experiment.parent == commit
        return open_ or commit == self.head or any(commit == change.commit for change in self.kept)
