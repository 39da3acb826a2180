"""Events of slices: what their sentinels showed, and what that made void."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.contract import Slice
from islands.records import Purpose


@dataclass(frozen=True, slots=True)
class VoidedTrial:
    """A trial whose score is void: its slice had drifted.

    trial, island, experiment, commit, purpose, seed, slice: as it started
    score: the score that is void
    """

    trial: str
    island: str
    experiment: int
    commit: str
    purpose: Purpose
    seed: int
    slice: str
    score: float


@dataclass(frozen=True, slots=True)
class VoidedDiscard:
    """An experiment whose discard rests on void trials.

    experiment, island: which one, and where
    """

    experiment: int
    island: str


@dataclass(frozen=True, slots=True)
class SliceQuarantined:
    """A slice no longer measures as it did.

    slice: its name
    reason: what its sentinels show
    good: trial that was its last good sentinel, "" for none
    trials: void trials: those that it ran since, and all of the experiments that were open there,
      which start over
    discards: void discards
    """

    slice: str
    reason: str
    good: str
    trials: tuple[VoidedTrial, ...]
    discards: tuple[VoidedDiscard, ...]
    recorded: float = 0.0
    kind: Literal["slice_quarantined"] = "slice_quarantined"


@dataclass(frozen=True, slots=True)
class SliceReleased:
    """A quarantined slice measures steadily again.

    slice: its name
    reason: how it measures
    shifted: whether it measures at another level than before
    """

    slice: str
    reason: str
    shifted: bool
    recorded: float = 0.0
    kind: Literal["slice_released"] = "slice_released"


@dataclass(frozen=True, slots=True)
class IslandReassigned:
    """An island's trials run on another slice from now on.

    island: its name
    slice: the slice
    reason: why
    permanent: whether it is the island's own slice from now on
    """

    island: str
    slice: Slice
    reason: str
    permanent: bool = False
    recorded: float = 0.0
    kind: Literal["island_reassigned"] = "island_reassigned"
