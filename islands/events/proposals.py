"""Events of proposals: calls to agents, what they sent, and what admission made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from islands.records import Migrant, Usage

CROSSED = "crossed_with"
"""Key of the note that gives the number of the experiment whose change a proposal took in."""


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
    brief: digest of the brief, "" where there was none
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
    brief: str = ""
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
class SummaryWritten:
    """A model was asked what the run's verdicts have taught so far, which briefs then show.

    experiment: number reserved for the request
    island, agent: whose agent's model was asked
    verdicts: of the run so far
    text: its answer, one paragraph of printable characters; "" where it gave none
    reason: why it gave none
    usage: what the answer cost
    """

    experiment: int
    island: str
    agent: str
    verdicts: int
    text: str = ""
    reason: str = ""
    usage: Usage = Usage()
    recorded: float = 0.0
    kind: Literal["summary_written"] = "summary_written"


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
