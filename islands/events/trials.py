"""Events of measurement: trials, checks, verdicts and what became void."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.contract import Outcome, Split, VoidCause
from islands.records import Gain, Purpose, Usage

ISLANDS_OWN: frozenset[Purpose] = frozenset({"baseline", "screen", "confirm"})
"""Purposes of the trials of islands' own ratchets; other scores belong to the check that asked."""


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
class TrialCharged:
    """The calls of a trial's `run` to the problem's model can have cost so much, at most, so far.

    Recorded before a call that raises it goes out, and when the trial is over: then it is the cost.

    trial, experiment, island: which trial, what it is for (0: nothing), who asked for it
    usage: what its calls took
    """

    trial: str
    experiment: int
    island: str
    usage: Usage
    recorded: float = 0.0
    kind: Literal["trial_charged"] = "trial_charged"


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
    known_until: where that is not when this was recorded, the time of the last sign of its run: one
        whose coordinator was killed ended then, and not when the next coordinator found it
    """

    started: TrialStarted
    reason: str
    cause: VoidCause = "harness"
    known_until: float = 0.0
    recorded: float = 0.0
    kind: Literal["trial_voided"] = "trial_voided"

    @property
    def ended(self) -> float:
        """When it ended, in seconds since the epoch."""
        return self.known_until or self.recorded


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
