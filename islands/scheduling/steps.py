"""Steps of an island, and the actions that prepare its candidates: a dataclass each."""

from __future__ import annotations

from dataclasses import dataclass

from islands import events as ev
from islands.events import steering as se
from islands.ratchet.acceptance import Decision
from islands.records import CheckRequest, Migrant, TrialRequest
from islands.state.population import Experiment


@dataclass(frozen=True, slots=True)
class RequestProposal:
    """Ask the island's agent for a proposal on its head."""


@dataclass(frozen=True, slots=True)
class Rebase:
    """Rebase a waiting candidate onto the head `onto`, or drop it."""

    experiment: Experiment
    onto: str


@dataclass(frozen=True, slots=True)
class EnoughPending:
    """Enough candidates are ready or requested."""


@dataclass(frozen=True, slots=True)
class OfferMigrant:
    """Offer a change of another island to the head, as an experiment."""

    parent: str
    migrant: Migrant


@dataclass(frozen=True, slots=True)
class ApplyMigrant:
    """Apply the offered migrant to the head, and admit or refuse the result."""

    offered: ev.MigrantOffered


@dataclass(frozen=True, slots=True)
class CatchUp:
    """Adopt another island's head."""

    event: ev.HeadAdopted


@dataclass(frozen=True, slots=True)
class RestartHead:
    """Go on from the commit that a person named."""

    event: se.IslandRestarted


@dataclass(frozen=True, slots=True)
class DropMigrant:
    """End an experiment that was admitted and not measured, and whose parent is no head any more.

    It or its parent was quarantined, or a person restarted the island: the `reason` says which.
    """

    experiment: Experiment
    reason: str


@dataclass(frozen=True, slots=True)
class Conclude:
    """End the island's experiment with a decision: keep or discard."""

    experiment: int
    decision: Decision


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for another trial to end, for example one of the shared baseline."""


@dataclass(frozen=True, slots=True)
class Paused:
    """Do nothing: a person paused the island."""


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing to measure: no candidate is ready."""


@dataclass(frozen=True, slots=True)
class RecordEvent:
    """Record an event that follows from the sentinels so far."""

    event: ev.SliceQuarantined | ev.SliceReleased


@dataclass(frozen=True, slots=True)
class EndFreshCheck:
    """Record what came of a candidate's check on fresh data."""

    event: ev.FreshChecked


@dataclass(frozen=True, slots=True)
class ReassignSlice:
    """Move the island to another slice: its slice is quarantined, or its own was released."""


@dataclass(frozen=True, slots=True)
class FailExperiment:
    """Stop: the base itself fails, for a `reason`."""

    reason: str


Step = (
    OfferMigrant
    | ApplyMigrant
    | CatchUp
    | RestartHead
    | DropMigrant
    | TrialRequest
    | CheckRequest
    | Conclude
    | Wait
    | Paused
    | Idle
    | FailExperiment
    | RecordEvent
    | EndFreshCheck
    | ReassignSlice
)
