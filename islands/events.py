"""Events: everything that can happen in a run, one frozen record each.

The ledger is a list of these and nothing else; every state, graph and table is computed from it.
Each event has two fields that are not listed below: `recorded`, seconds since the epoch by the
coordinator's clock (virtual in simulations), and `kind`, the event's name in the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter

from harness.contract import Direction, Evidence, Outcome, Rung, Slice, Split, VoidCause
from islands import steering_events as se
from islands.records import Agreement, Contender, Gain, Measured, Migrant, Purpose, RunLimit, Usage

FORMAT: Final = 2
"""Version of the record format. Raise it with every change that an older reader would misread."""

StackVerdict = Literal["additive", "short", "redundant", "antagonistic", "conflict"]
"""Result of a stack check: the whole is worth the sum of its parts (additive); less (short); no
more than without some of them (redundant); less than nothing or than its best part (antagonistic);
or the parts do not apply together (conflict)."""

Transfer = Literal["transfers", "fades", "reverses"]
"""Result of a promotion at its rung: better than the base (transfers), not shown to be (fades), or
worse (reverses)."""

ISLANDS_OWN: frozenset[Purpose] = frozenset({"baseline", "screen", "confirm"})
"""Purposes of the trials of islands' own ratchets; other scores belong to the check that asked."""

CROSSED = "crossed_with"
"""Key of the note that gives the number of the experiment whose change a proposal took in."""


@dataclass(frozen=True, slots=True)
class RunOpened:
    """A run began.

    run: its name
    base: commit that it started from
    target: branch that its result is merged into
    task, data, metric: names of what is optimised, on what data, by what measure
    direction: whether a lower or a higher score is better
    genome: paths that candidates may change
    rungs: levels of fidelity, cheapest first
    harness: fingerprint of the harness that every score must come from
    seed: seed of all of the run's randomness
    baseline_seeds: how many seeds the base is measured on
    lines: lines of the genome at `base`, 0 if not counted
    evidence: what all scores are, unless the harness computes a trial's all the same
    checks: command lines that must exit with 0 on a candidate before it is kept
    program: path of its program.md in the repository
    usd_per_slice_hour: dollars that an hour of a slice counts as where costs are added up
    format: version of the record format
    fresh: pieces of fresh data that it can score keeps on, each once
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
    evidence: Evidence = "verified"
    checks: tuple[str, ...] = ()
    program: str = "program.md"
    usd_per_slice_hour: float = 1.0
    format: Literal[2] = FORMAT
    fresh: int = 0
    recorded: float = 0.0
    kind: Literal["run_opened"] = "run_opened"


@dataclass(frozen=True, slots=True)
class RunResumed:
    """A coordinator resumed the run."""

    recorded: float = 0.0
    kind: Literal["run_resumed"] = "run_resumed"


@dataclass(frozen=True, slots=True)
class RunStopped:
    """A coordinator ended in good order.

    reason: the limit, the interrupt or the error that ended it
    limit: the limit that was reached, if one was
    """

    reason: str
    limit: RunLimit | None = None
    recorded: float = 0.0
    kind: Literal["run_stopped"] = "run_stopped"


@dataclass(frozen=True, slots=True)
class IslandOpened:
    """An island began.

    island: its name
    branch: its git branch
    head: commit that it started from
    agent: what proposes changes
    slice: what runs its trials
    """

    island: str
    branch: str
    head: str
    agent: str
    slice: Slice
    recorded: float = 0.0
    kind: Literal["island_opened"] = "island_opened"


@dataclass(frozen=True, slots=True)
class AgentCallStarted:
    """An agent was asked for a proposal.

    experiment: number reserved for the proposal
    island, agent: who asks whom
    usage: the most that the call can cost, charged until its answer is recorded
    """

    experiment: int
    island: str
    agent: str
    usage: Usage = Usage()
    recorded: float = 0.0
    kind: Literal["agent_call_started"] = "agent_call_started"


@dataclass(frozen=True, slots=True)
class ProposalReceived:
    """An agent answered a brief.

    experiment: number of the proposal
    island, agent: who asked whom
    parent: commit of the head that the brief showed
    hypothesis: what the agent expects, in a line
    notes: what the agent wants to see again
    usage: what the answer cost
    origin: experiment whose change the agent was asked to port, 0 for an idea of its own
    temperament: what kind of change the brief asked for, "" for any
    """

    experiment: int
    island: str
    agent: str
    parent: str
    hypothesis: str
    notes: Mapping[str, str | float] = field(default_factory=dict)
    usage: Usage = Usage()
    origin: int = 0
    temperament: str = ""
    recorded: float = 0.0
    kind: Literal["proposal_received"] = "proposal_received"

    @property
    def donor(self) -> int:
        """The number of the experiment whose change was taken in, 0 for none."""
        note = self.notes.get(CROSSED)
        if isinstance(note, float) and note.is_integer():  # JSON reads numbers back as floats
            return int(note)
        return note if isinstance(note, int) else 0


@dataclass(frozen=True, slots=True)
class MigrantOffered:
    """A change that another island kept was brought to an island, as an experiment of its own.

    experiment: number of the experiment
    island: island that tries the change
    parent: commit of that island's head
    migrant: the change
    """

    experiment: int
    island: str
    parent: str
    migrant: Migrant
    recorded: float = 0.0
    kind: Literal["migrant_offered"] = "migrant_offered"


@dataclass(frozen=True, slots=True)
class ProposalRefused:
    """A proposal or a migrant was not admitted.

    experiment, island: which one, and where
    rule: name of the rule that refused it; for migrants also `conflict` (it does not apply) and
      `present` (the head has it already)
    reason: what its agent is shown
    repeats: experiment that tried the same change (rule `repeat`), or is trying it (rule
      `claimed`), 0 for none
    """

    experiment: int
    island: str
    rule: str
    reason: str
    repeats: int = 0
    recorded: float = 0.0
    kind: Literal["proposal_refused"] = "proposal_refused"


@dataclass(frozen=True, slots=True)
class CandidateAdmitted:
    """A proposal became a commit, which a ref keeps, and waits for its island's slice.

    experiment, island: which one, and where
    commit: the candidate
    parent: the head that it was made on
    added, removed: lines against `parent`
    code: lines of code added less those removed, comments and blank lines left out
    change: digest of what it does and where (islands/genome/normal_change.py), "" if not known
    """

    experiment: int
    island: str
    commit: str
    parent: str
    added: int
    removed: int
    code: int = 0
    change: str = ""
    recorded: float = 0.0
    kind: Literal["candidate_admitted"] = "candidate_admitted"


@dataclass(frozen=True, slots=True)
class CandidateRebased:
    """A waiting candidate was applied to its island's new head; it had not been measured.

    experiment, island: which one, and where
    commit: the candidate's new commit
    parent: the new head
    added, removed: lines against `parent`
    code: lines of code added less those removed, comments and blank lines left out
    change: digest of what it does and where (islands/genome/normal_change.py), "" if not known
    """

    experiment: int
    island: str
    commit: str
    parent: str
    added: int
    removed: int
    code: int = 0
    change: str = ""
    recorded: float = 0.0
    kind: Literal["candidate_rebased"] = "candidate_rebased"


@dataclass(frozen=True, slots=True)
class CandidateDropped:
    """A waiting candidate does not apply to its island's new head and was never run.

    experiment, island: which one, and where
    reason: why it does not apply
    """

    experiment: int
    island: str
    reason: str
    recorded: float = 0.0
    kind: Literal["candidate_dropped"] = "candidate_dropped"


@dataclass(frozen=True, slots=True)
class TrialStarted:
    """A trial started on a slice.

    trial: its name
    experiment: experiment that it is for, 0 for none
    island: island that asked for it
    commit: what is run: the candidate, a head, a stack or the base
    purpose: what it is for
    seed: seed of the trial's randomness
    rung: level of fidelity, counted from 0
    slice: name of the slice
    split: held-out split that is scored; on `hidden` it is its promotion's only query
    check_number: stack check or promotion that it is for, 0 for none
    share: share of the rung's seconds that it is given, above 0 and up to 1
    fresh: number of the piece of fresh data that it is scored on as well, 0 for none; from now on
      the piece is spent, whatever becomes of the trial
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
    fresh: int = 0
    recorded: float = 0.0
    kind: Literal["trial_started"] = "trial_started"


@dataclass(frozen=True, slots=True)
class TrialEnded:
    """A trial ended with an outcome.

    started: the trial
    outcome: its score, or how the candidate failed
    """

    started: TrialStarted
    outcome: Outcome
    recorded: float = 0.0
    kind: Literal["trial_ended"] = "trial_ended"


@dataclass(frozen=True, slots=True)
class TrialVoided:
    """A trial ended without an outcome, through no fault of the candidate; it is run again.

    started: the trial
    reason: what went wrong
    cause: what kind of thing that was
    """

    started: TrialStarted
    reason: str
    cause: VoidCause = "harness"
    recorded: float = 0.0
    kind: Literal["trial_voided"] = "trial_voided"


@dataclass(frozen=True, slots=True)
class CommitChecked:
    """The problem's checks were run on a commit.

    experiment: which one, 0 for the base and for a combination of kept changes
    island: where the checks ran
    commit: the candidate, the combination or the base
    ok: whether every command exited with 0
    command: the one that failed, "" if `ok`
    reason: why it failed, in a line, "" if `ok`
    tail: end of what that command printed
    seconds: wall time of all commands
    stack: number of the stack check whose combination it is, 0 for none
    promotion: number of the promotion whose stack it is, 0 for none
    """

    experiment: int
    island: str
    commit: str
    ok: bool
    command: str = ""
    reason: str = ""
    tail: str = ""
    seconds: float = 0.0
    stack: int = 0
    promotion: int = 0
    recorded: float = 0.0
    kind: Literal["commit_checked"] = "commit_checked"


@dataclass(frozen=True, slots=True)
class VerdictReached:
    """An experiment was kept or discarded. On keep its island's head moves to `commit`.

    experiment, island: which one, and where
    commit: the candidate
    parent: the head that it was compared with
    verdict: keep or discard
    reason: why, in a line
    gain: gain of `commit` over `parent`, in units of the metric, above zero is better
    lines: lines added less lines removed
    origin: experiment that made the change elsewhere, 0 for a change of the island's own
    null: the proposal does nothing (islands/genome/null_edits.py); its keep moves no head
    simpler: it was kept because it is shorter and no worse (islands/ratchet/simpler.py)
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
    simpler: bool = False
    recorded: float = 0.0
    kind: Literal["verdict_reached"] = "verdict_reached"


@dataclass(frozen=True, slots=True)
class AgentFailed:
    """An agent gave no proposal.

    experiment, island, agent: number reserved for the proposal, who asked whom
    error_kind: kind of error; `stopped`: the coordinator stopped while the agent worked;
      `exhausted`: the agent has nothing left to try on this head; `too_long`, `rejected`: the
      provider does not take this prompt; `unavailable`: only a person can make the provider answer
    reason: the error, in a line
    usage: what the attempt cost
    origin: experiment whose change the agent was asked to port, 0 for an idea of its own
    temperament: what kind of change the brief asked for, "" for any
    """

    experiment: int
    island: str
    agent: str
    error_kind: Literal[
        "rate",
        "server",
        "timeout",
        "refusal",
        "malformed",
        "unapplied",
        "network",
        "stopped",
        "exhausted",
        "too_long",
        "rejected",
        "unavailable",
    ]
    reason: str
    usage: Usage = Usage()
    origin: int = 0
    temperament: str = ""
    recorded: float = 0.0
    kind: Literal["agent_failed"] = "agent_failed"


@dataclass(frozen=True, slots=True)
class StackCheckStarted:
    """A stack check began.

    number: number of the check, from 1
    base: commit that the changes are applied to
    parts: experiments whose changes are checked, strongest evidence first
    pair_sd: standard deviation of a paired difference, as estimated then, in units of the metric
    """

    number: int
    base: str
    parts: tuple[int, ...]
    pair_sd: float = 1.0
    recorded: float = 0.0
    kind: Literal["stack_check_started"] = "stack_check_started"


@dataclass(frozen=True, slots=True)
class StackCheckAssembled:
    """A stack check applied a combination of changes.

    number: number of the check
    parts: experiments whose changes were applied, in order
    commit: the result, "" if they conflict
    conflict: files in which they conflict, "" if they do not
    base: commit that they were applied to
    stuck: experiment whose change does not apply after those before it, 0 for none
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
    """A stack check ended. Gains are in units of the metric.

    number: number of the check
    verdict: what it found
    commit: the stack that remains
    parts: experiments in that stack
    dropped: experiments of the check that are not
    culprits: experiments, or sets of them, that the verdict is about
    expected: sum of the gains of all parts that apply together
    observed: gain of all these together over the base
    interaction: `observed` less `expected`
    lines_saved: lines that the dropped changes would have added
    blame: for each of `culprits`, its gain less what was expected of it
    gain: gain of `commit` over the base, by all evidence
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
    """A stack is measured again at a higher rung.

    number: number of the promotion, from 1
    rung: level of fidelity, counted from 0
    base: commit that it is compared with
    commit: the stack
    parts: experiments in the stack
    before: its gain so far
    contenders: its parts and the best near misses, strongest evidence first
    seeds: pairs on the stack
    trials: most trials that the promotion may take
    hidden: whether the hidden split is queried
    timed: whether time to target is measured
    stack: number of the stack check that it comes from, 0 for an island's head
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
    """A promotion ended.

    number, rung, base, commit, parts: as it started
    verdict: transfers, fades or reverses
    reason: why, in a line
    before: the stack's gain at the rung below
    after: its gain at this rung
    contenders: what was measured of the contenders
    agreement: how well the contenders' gains at the two rungs agree in order
    hidden: whether the stack is better on the hidden split, None if that was not queried
    target: the base's dev score on the rung's whole budget
    reached: seconds that the stack needs for it; 0.0 if not measured or not reached
    low, high: seconds between which `reached` lies
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
    """The parts of a promoted stack were committed one after the other.

    All but the last commit are run once before the consensus moves, so that `git bisect` works.

    promotion: number of the promotion
    base: commit that they are built on
    changes: the commits, oldest first
    """

    promotion: int
    base: str
    changes: tuple[str, ...]
    recorded: float = 0.0
    kind: Literal["consensus_drafted"] = "consensus_drafted"


@dataclass(frozen=True, slots=True)
class ConsensusMoved:
    """The consensus branch moved.

    promotion: number of the promotion that it comes from
    base: commit that it is built on
    old: commit that the branch was at, "" for none
    commit: commit that it is at now
    parts: experiments in it
    changes: its commits, oldest first, one for each part; a part after which the genome does not
      run shares a commit with the next
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
    """The sealed split was scored, once in the run.

    commit, base: what was compared
    gain: gain of `commit` over `base` there
    """

    commit: str
    base: str
    gain: Gain
    recorded: float = 0.0
    kind: Literal["sealed_scored"] = "sealed_scored"


@dataclass(frozen=True, slots=True)
class Fallback:
    """An island's head went back.

    island: its name
    old: the quarantined head
    new: the head that it fell back to, "" if it has none
    """

    island: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class CommitQuarantined:
    """A commit was found invalid or dropped, and is quarantined with what is built on it.

    trial: trial that found it invalid, "" if a person dropped it
    commit: the commit
    commits: all commits that are quarantined, oldest first
    heads: islands that fell back
    reason: all that agents are told
    """

    trial: str
    commit: str
    commits: tuple[str, ...]
    heads: tuple[Fallback, ...]
    reason: str
    recorded: float = 0.0
    kind: Literal["commit_quarantined"] = "commit_quarantined"


@dataclass(frozen=True, slots=True)
class FreshChecked:
    """A candidate's gain on fresh data was compared with its gain on dev, before a keep.

    experiment, island: which one, and where
    commit, parent: the candidate, and the head that it was compared with
    trial: the candidate's trial on both
    piece: number of the piece of fresh data
    dev, fresh: the gains there, each with its standard error over parts of the data
    chance: that an honest gain falls so short on fresh data
    ok: whether the gain holds; if not, the candidate is invalid: it fits what it was shown
    """

    experiment: int
    island: str
    commit: str
    parent: str
    trial: str
    piece: int
    dev: Gain
    fresh: Gain
    chance: float
    ok: bool
    recorded: float = 0.0
    kind: Literal["fresh_checked"] = "fresh_checked"


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


@dataclass(frozen=True, slots=True)
class HeadAdopted:
    """An island adopted the head of another; that takes no trial.

    island: its name
    source: island whose head it adopted
    old, new: its head before and after
    changes: experiments that the new head is built on and the old one was not
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
    """The consensus, or an island's head, was merged.

    island: the island, "" for the consensus
    head: commit that was merged
    commit: the merge
    target: branch that was merged into
    how: merge (two parents) or squash (one)
    forced: whether it was merged without having been promoted
    """

    island: str
    head: str
    commit: str
    target: str
    how: Literal["merge", "squash"] = "merge"
    forced: bool = False
    recorded: float = 0.0
    kind: Literal["merged"] = "merged"


@dataclass(frozen=True, slots=True)
class ModelCalled:
    """A call to a model ended. No text of it is recorded.

    The proposal's own events carry the sums: these show what they consist of.

    agent: name of the agent that called
    model: the model
    experiment: number of the proposal that it was made for, 0 for none
    status: HTTP status of the answer, 0 if none came whole
    tokens_in, tokens_out: tokens read and written, as the provider counts them
    tokens_cached: those of `tokens_in` that were read from its cache
    tokens_untold: most tokens that it may have taken beside these, where no count came
    usd: US dollars, at most so much where tokens are untold; None: the price is unknown
    seconds: from sending it to the end of the answer
    """

    agent: str
    model: str
    experiment: int
    status: int
    tokens_in: int
    tokens_out: int
    tokens_cached: int
    tokens_untold: int
    usd: float | None
    seconds: float
    recorded: float = 0.0
    kind: Literal["model_called"] = "model_called"


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
)

_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="kind")])


def encode(event: Event) -> bytes:
    """Return `event` as one line of JSON, without the newline."""
    return _EVENT.dump_json(event)


def decode(line: bytes | str) -> Event:
    """Return the event that `encode` wrote. Raises pydantic.ValidationError on anything else."""
    return _EVENT.validate_json(line)
