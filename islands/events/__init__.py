"""Events: everything that can happen in a run, one frozen record each.

The ledger is a list of these and nothing else; every state, graph and table is computed from it.
Each event has two fields that are not listed below: `recorded`, seconds since the epoch by the
coordinator's clock (virtual in simulations), and `kind`, the event's name in the ledger.

May import islands.records and harness.contract; imported by the rest of islands and all above it.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated

from pydantic import Field, TypeAdapter

from islands.events import steering as se
from islands.events.proposals import (
    CROSSED,
    AgentCallStarted,
    AgentFailed,
    CandidateAdmitted,
    CandidateDropped,
    CandidateRebased,
    MigrantOffered,
    ModelCalled,
    ProposalReceived,
    ProposalRefused,
    SummaryWritten,
)
from islands.events.run import (
    FORMAT,
    HeadAdopted,
    IslandOpened,
    Merged,
    RunOpened,
    RunResumed,
    RunStopped,
)
from islands.events.slices import (
    IslandReassigned,
    SliceQuarantined,
    SliceReleased,
    VoidedDiscard,
    VoidedTrial,
)
from islands.events.stacks import (
    ConsensusDrafted,
    ConsensusMoved,
    PromotionEnded,
    PromotionStarted,
    SealedScored,
    StackCheckAssembled,
    StackCheckEnded,
    StackCheckStarted,
    StackVerdict,
    Transfer,
)
from islands.events.trials import (
    ISLANDS_OWN,
    CommitChecked,
    CommitQuarantined,
    Fallback,
    FreshChecked,
    TrialCharged,
    TrialEnded,
    TrialStarted,
    TrialVoided,
    VerdictReached,
)

__all__ = [
    "CROSSED",
    "FORMAT",
    "ISLANDS_OWN",
    "AgentCallStarted",
    "AgentFailed",
    "CandidateAdmitted",
    "CandidateDropped",
    "CandidateRebased",
    "CommitChecked",
    "CommitQuarantined",
    "ConsensusDrafted",
    "ConsensusMoved",
    "Event",
    "Fallback",
    "FreshChecked",
    "HeadAdopted",
    "IslandOpened",
    "IslandReassigned",
    "Merged",
    "MigrantOffered",
    "ModelCalled",
    "PromotionEnded",
    "PromotionStarted",
    "ProposalReceived",
    "ProposalRefused",
    "RunOpened",
    "RunResumed",
    "RunStopped",
    "SealedScored",
    "SliceQuarantined",
    "SliceReleased",
    "StackCheckAssembled",
    "StackCheckEnded",
    "StackCheckStarted",
    "StackVerdict",
    "SummaryWritten",
    "Transfer",
    "TrialCharged",
    "TrialEnded",
    "TrialStarted",
    "TrialVoided",
    "VerdictReached",
    "VoidedDiscard",
    "VoidedTrial",
    "decode",
    "encode",
]

Event = (
    RunOpened
    | RunResumed
    | RunStopped
    | IslandOpened
    | AgentCallStarted
    | ProposalReceived
    | MigrantOffered
    | ProposalRefused
    | CandidateAdmitted
    | CandidateRebased
    | CandidateDropped
    | TrialStarted
    | TrialEnded
    | TrialVoided
    | CommitChecked
    | VerdictReached
    | AgentFailed
    | StackCheckStarted
    | StackCheckAssembled
    | StackCheckEnded
    | PromotionStarted
    | PromotionEnded
    | ConsensusDrafted
    | ConsensusMoved
    | SealedScored
    | CommitQuarantined
    | SliceQuarantined
    | SliceReleased
    | IslandReassigned
    | HeadAdopted
    | Merged
    | ModelCalled
    | se.Steered
    | FreshChecked
    | SummaryWritten
    | TrialCharged
)


@cache
def _event() -> TypeAdapter[Event]:
    """Return what reads and writes events; building it takes a tenth of a second."""
    return TypeAdapter(Annotated[Event, Field(discriminator="kind")])


def encode(event: Event) -> bytes:
    """Return `event` as one line of JSON, without the newline."""
    return _event().dump_json(event)


def decode(line: bytes | str) -> Event:
    """Return the event that `encode` wrote. Raises pydantic.ValidationError on anything else."""
    return _event().validate_json(line)
