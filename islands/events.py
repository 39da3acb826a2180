"""What can happen in a run: one frozen record each, in the past tense, kept for ever.

The ledger is a list of these and nothing else; every state, graph and picture is their fold.
`recorded` is seconds since the epoch by the coordinator's clock (virtual in simulations).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter

from harness.contract import Direction, Outcome, Rung, Slice, Split
from islands.records import Agreement, Contender, Gain, Measured, Migrant, Purpose, RunLimit, Usage

FORMAT: Final = 2
"""Version of the record format. Raise it with every change that an older reader would misread."""

StackVerdict = Literal["additive", "short", "redundant", "antagonistic", "conflict"]
"""What a stack check came to: the whole is worth the sum of its parts; less than that; no more
than without some of them; less than nothing, or less than its best part; or cannot be made."""

Transfer = Literal["transfers", "fades", "reverses"]
"""What a promotion came to at its rung: still better than the base; not shown to be; worse."""

ISLANDS_OWN: frozenset[Purpose] = frozenset({"baseline", "screen", "confirm"})
"""What islands' own ratchets run trials for; other scores are for the checks that asked."""


CROSSED = "crossed_with"
"""The note by which a proposal names, by number, the experiment whose change it took in."""


@dataclass(frozen=True, slots=True)
class RunOpened:
    """A run began at commit `base` of branch `target`; `harness` is the measure it is held to.

    `lines` are the genome's at `base` (0: not counted).
    """

    run: str
    base: str
    target: str
    task: str
    data: str
    metric: str
    direction: Direction
    genome: tuple[str, ...]
    rungs: tuple[Rung, ...]
    harness: str
    seed: int
    baseline_seeds: int
    lines: int = 0
    format: Literal[2] = FORMAT
    recorded: float = 0.0
    kind: Literal["run_opened"] = "run_opened"


@dataclass(frozen=True, slots=True)
class RunResumed:
    """A coordinator took the run up again."""

    recorded: float = 0.0
    kind: Literal["run_resumed"] = "run_resumed"


@dataclass(frozen=True, slots=True)
class RunStopped:
    """A coordinator ended in good order: `reason` is a limit, an interrupt or an error."""

    reason: str
    limit: RunLimit | None = None
    recorded: float = 0.0
    kind: Literal["run_stopped"] = "run_stopped"


@dataclass(frozen=True, slots=True)
class IslandOpened:
    """An island began at commit `head`, proposed for by `agent`, measured on `slice`."""

    island: str
    branch: str
    head: str
    agent: str
    slice: Slice
    recorded: float = 0.0
    kind: Literal["island_opened"] = "island_opened"


@dataclass(frozen=True, slots=True)
class AgentCallStarted:
    """A model is called for a proposal, which costs `usage` if nothing more is heard of it."""

    experiment: int
    island: str
    agent: str
    usage: Usage = Usage()
    recorded: float = 0.0
    kind: Literal["agent_call_started"] = "agent_call_started"


@dataclass(frozen=True, slots=True)
class ProposalReceived:
    """An agent answered a brief drawn on commit `parent`.

    It was asked to port what experiment `origin` made elsewhere; 0: for an idea of its own.
    """

    experiment: int
    island: str
    agent: str
    parent: str
    hypothesis: str
    notes: Mapping[str, str | float] = field(default_factory=dict)
    usage: Usage = Usage()
    origin: int = 0
    recorded: float = 0.0
    kind: Literal["proposal_received"] = "proposal_received"

    @property
    def donor(self) -> int:
        """Return the experiment whose change was taken in, 0, which none is, where it was none."""
        note = self.notes.get(CROSSED)
        if isinstance(note, float) and note.is_integer():  # notes come back from JSON as floats
            return int(note)
        return note if isinstance(note, int) else 0


@dataclass(frozen=True, slots=True)
class MigrantOffered:
    """A change of another island was brought to `island`, whose head was `parent`.

    It is an experiment of the island like those that its agent proposes.
    """

    experiment: int
    island: str
    parent: str
    migrant: Migrant
    recorded: float = 0.0
    kind: Literal["migrant_offered"] = "migrant_offered"


@dataclass(frozen=True, slots=True)
class ProposalRefused:
    """A proposal or a migrant was not let in, by `rule`, for a `reason` that agents are shown.

    A migrant that does not apply is refused by rule `conflict`, and one that the head holds
    already by rule `present`.
    """

    experiment: int
    island: str
    rule: str
    reason: str
    recorded: float = 0.0
    kind: Literal["proposal_refused"] = "proposal_refused"


@dataclass(frozen=True, slots=True)
class CandidateAdmitted:
    """A proposal became a commit, held by a ref for ever, and waits for its island's slice.

    `added`, `removed` count lines.
    """

    experiment: int
    island: str
    commit: str
    parent: str
    added: int
    removed: int
    recorded: float = 0.0
    kind: Literal["candidate_admitted"] = "candidate_admitted"


@dataclass(frozen=True, slots=True)
class CandidateRebased:
    """A candidate that waited was made anew, as `commit`, on the head that its island got since.

    Nothing had been measured of it. `added`, `removed` count lines against `parent`, that head.
    """

    experiment: int
    island: str
    commit: str
    parent: str
    added: int
    removed: int
    recorded: float = 0.0
    kind: Literal["candidate_rebased"] = "candidate_rebased"


@dataclass(frozen=True, slots=True)
class CandidateDropped:
    """A candidate that waited cannot be had on the head that its island got since; never run."""

    experiment: int
    island: str
    reason: str
    recorded: float = 0.0
    kind: Literal["candidate_dropped"] = "candidate_dropped"


@dataclass(frozen=True, slots=True)
class TrialStarted:
    """A trial started on a slice. `experiment` is 0 for trials of no experiment.

    `check_number` is the number of the stack check or promotion that it is for, 0 for none.
    `share` is the part of the rung's seconds that it is given. A trial on the part `hidden` spends
    its promotion's one query there.
    """

    trial: str
    experiment: int
    island: str
    commit: str
    purpose: Purpose
    seed: int
    rung: int
    slice: str
    split: Split = "dev"
    check_number: int = 0
    share: float = 1.0
    recorded: float = 0.0
    kind: Literal["trial_started"] = "trial_started"


@dataclass(frozen=True, slots=True)
class TrialEnded:
    """The trial `started` came to an outcome: a score, or a failure of the candidate."""

    started: TrialStarted
    outcome: Outcome
    recorded: float = 0.0
    kind: Literal["trial_ended"] = "trial_ended"


@dataclass(frozen=True, slots=True)
class TrialVoided:
    """The trial `started` has no outcome through no fault of the candidate; it is run again."""

    started: TrialStarted
    reason: str
    recorded: float = 0.0
    kind: Literal["trial_voided"] = "trial_voided"


@dataclass(frozen=True, slots=True)
class VerdictReached:
    """An experiment ended. On keep the island's head moves from `parent` to `commit`.

    The gain is over `parent`. `lines` counts those added less those removed. `origin` is the
    experiment that made the change elsewhere (0: the island's own). A `null` proposal does nothing
    (islands/genome/null_edits.py); if it is kept, no head moves.
    """

    experiment: int
    island: str
    commit: str
    parent: str
    verdict: Literal["keep", "discard"]
    reason: str
    gain: Gain | None = None
    lines: int = 0
    origin: int = 0
    null: bool = False
    recorded: float = 0.0
    kind: Literal["verdict_reached"] = "verdict_reached"


@dataclass(frozen=True, slots=True)
class AgentFailed:
    """An agent gave no proposal: what went wrong, and what the attempt cost all the same.

    It is "stopped" where the coordinator stopped while it was asked.

    It was asked to port what experiment `origin` made elsewhere; 0: for an idea of its own.
    """

    experiment: int
    island: str
    agent: str
    error_kind: Literal[
        "rate", "server", "timeout", "refusal", "malformed", "unapplied", "network", "stopped"
    ]
    reason: str
    usage: Usage = Usage()
    origin: int = 0
    recorded: float = 0.0
    kind: Literal["agent_failed"] = "agent_failed"


@dataclass(frozen=True, slots=True)
class StackCheckStarted:
    """A stack check began on `base`, of the experiments `parts`, strongest evidence first.

    Checks of stacks are numbered from 1 on. `pair_sd` is the standard deviation of a paired
    difference, as the run knew it then.
    """

    number: int
    base: str
    parts: tuple[int, ...]
    pair_sd: float = 1.0
    recorded: float = 0.0
    kind: Literal["stack_check_started"] = "stack_check_started"


@dataclass(frozen=True, slots=True)
class StackCheckAssembled:
    """The changes of `parts` were applied to `base` in order: `commit`, "" where they conflict.

    `stuck` is the part that does not go on those before it, `conflict` the files where.
    """

    number: int
    parts: tuple[int, ...]
    commit: str
    conflict: str = ""
    base: str = ""
    stuck: int = 0
    recorded: float = 0.0
    kind: Literal["stack_check_assembled"] = "stack_check_assembled"


@dataclass(frozen=True, slots=True)
class StackCheckEnded:
    """A stack check ended with `parts` on `commit`; of those it began with, `dropped` are out.

    `expected` is the sum of the gains of all parts that fit together, `observed` the gain of their
    whole over the base, `interaction` the second less the first. `culprits` are the parts, or sets
    of them, that the verdict is about, and `blame` what each is worth beyond what was expected of
    it. `gain` is `commit`'s over the base, by all that is known. `lines_saved`
    are those of the genome that the dropped parts would have added.
    """

    number: int
    verdict: StackVerdict
    commit: str
    parts: tuple[int, ...]
    dropped: tuple[int, ...]
    culprits: tuple[tuple[int, ...], ...]
    expected: Gain
    observed: Gain
    interaction: Gain
    lines_saved: int = 0
    blame: tuple[Gain, ...] = ()
    gain: Gain | None = None
    recorded: float = 0.0
    kind: Literal["stack_check_ended"] = "stack_check_ended"


@dataclass(frozen=True, slots=True)
class PromotionStarted:
    """The stack `commit` of the experiments `parts` is measured again at `rung` against `base`.

    Promotions are numbered from 1 on. `stack` is the stack check that it comes from (0: none, an
    island's head). `before` is its gain so far, `contenders` are its parts and the best near
    misses, strongest evidence first. `seeds`, `trials`: pairs, and what it may cost in all.
    `hidden`: the hidden part is asked; `timed`: time to target is measured.
    """

    number: int
    rung: int
    base: str
    commit: str
    parts: tuple[int, ...]
    before: Gain
    contenders: tuple[Contender, ...]
    seeds: int
    trials: int
    hidden: bool = False
    timed: bool = True
    stack: int = 0
    recorded: float = 0.0
    kind: Literal["promotion_started"] = "promotion_started"


@dataclass(frozen=True, slots=True)
class PromotionEnded:
    """A promotion ended; `before` and `after` are the stack's gains at the rung below and at its.

    `hidden` is the one bit: is the stack better there, None where it was not asked. `target` is
    the base's dev score on the rung's whole budget and `reached` the seconds that the stack needs
    for it, somewhere from `low` to `high`; 0.0 where it was not measured, or was not reached.
    """

    number: int
    rung: int
    base: str
    commit: str
    parts: tuple[int, ...]
    verdict: Transfer
    reason: str
    before: Gain
    after: Gain
    contenders: tuple[Measured, ...] = ()
    agreement: Agreement | None = None
    hidden: bool | None = None
    target: float = 0.0
    reached: float = 0.0
    low: float = 0.0
    high: float = 0.0
    recorded: float = 0.0
    kind: Literal["promotion_ended"] = "promotion_ended"


@dataclass(frozen=True, slots=True)
class ConsensusDrafted:
    """The parts of a promoted stack were committed one after the other, as `changes`, on `base`.

    All but the last are run once each before the consensus moves: a history to bisect must run.
    """

    promotion: int
    base: str
    changes: tuple[str, ...]
    recorded: float = 0.0
    kind: Literal["consensus_drafted"] = "consensus_drafted"


@dataclass(frozen=True, slots=True)
class ConsensusMoved:
    """The consensus branch went from `old` ("" for none) to `commit`, built on `base`.

    It has one commit for each of `parts`, `changes` in the same order, but that a part after which
    the genome does not run is one with the next. `promotion` is the number of the promotion.
    """

    promotion: int
    base: str
    old: str
    commit: str
    parts: tuple[int, ...]
    changes: tuple[str, ...]
    recorded: float = 0.0
    kind: Literal["consensus_moved"] = "consensus_moved"


@dataclass(frozen=True, slots=True)
class SealedScored:
    """The sealed part was asked, once for this run: how much `commit` gains there over `base`."""

    commit: str
    base: str
    gain: Gain
    recorded: float = 0.0
    kind: Literal["sealed_scored"] = "sealed_scored"


@dataclass(frozen=True, slots=True)
class Fallback:
    """An island went back from head `old` to `new`, "" where it has none to go back to."""

    island: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class CommitQuarantined:
    """`trial` found `commit` invalid, which was built on: it and what came from it is set apart.

    `commits` are all of these, oldest first. The islands of `heads` fell back. `reason` is all
    that agents are told.
    """

    trial: str
    commit: str
    commits: tuple[str, ...]
    heads: tuple[Fallback, ...]
    reason: str
    recorded: float = 0.0
    kind: Literal["commit_quarantined"] = "commit_quarantined"


@dataclass(frozen=True, slots=True)
class VoidedTrial:
    """A trial that a slice ran since its last good sentinel: nothing is to be made of its score."""

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
    """An experiment whose discard rests on tainted trials."""

    experiment: int
    island: str


@dataclass(frozen=True, slots=True)
class SliceQuarantined:
    """A slice does not measure as it did: it is set apart, for a `reason`.

    `good` is its last good sentinel ("": none was). `trials` are void: those that it ran since,
    and all of the experiments that were open there, which begin again. `discards` are void, too.
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
    """A slice that was set apart measures steadily again, at another level where it `shifted`."""

    slice: str
    reason: str
    shifted: bool
    recorded: float = 0.0
    kind: Literal["slice_released"] = "slice_released"


@dataclass(frozen=True, slots=True)
class IslandReassigned:
    """An island's trials run on another slice from now on; `permanent`: it is the island's own."""

    island: str
    slice: Slice
    reason: str
    permanent: bool = False
    recorded: float = 0.0
    kind: Literal["island_reassigned"] = "island_reassigned"


@dataclass(frozen=True, slots=True)
class HeadAdopted:
    """An island went from its head `old` to `new`, the head of island `source`: no trial is needed.

    `changes` are the experiments that the new head is built on and the old one was not.
    """

    island: str
    source: str
    old: str
    new: str
    changes: tuple[int, ...]
    recorded: float = 0.0
    kind: Literal["head_adopted"] = "head_adopted"


@dataclass(frozen=True, slots=True)
class Merged:
    """The consensus, or an island's head, came home: `commit` is new on branch `target`.

    `island` is "" for the consensus; `how` it came; `forced` says that it was not promoted.
    """

    island: str
    head: str
    commit: str
    target: str
    how: Literal["merge", "squash"] = "merge"
    forced: bool = False
    recorded: float = 0.0
    kind: Literal["merged"] = "merged"


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
)

_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="kind")])


def encode(event: Event) -> bytes:
    """Return `event` as one line of JSON, without the newline."""
    return _EVENT.dump_json(event)


def decode(line: bytes | str) -> Event:
    """Return the event that `encode` wrote. Raises pydantic.ValidationError on anything else."""
    return _EVENT.validate_json(line)
