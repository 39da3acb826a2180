"""The contract of the harness with its callers: trials go in, outcomes come out.

All records are frozen and survive a trip through JSON (`encode`, `decode_*`), since the harness
runs in processes of its own. Paths are absolute strings. Times are wall seconds.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import TypeAdapter

Direction = Literal["minimize", "maximize"]

SandboxKind = Literal["namespaces", "landlock", "none"]
"""What confines a trial: namespaces (bubblewrap), Landlock alone, or nothing."""

DOOR_SOCKET = "model"
"""Name of the socket in the folder of `Trial.door`."""

STRENGTH: tuple[SandboxKind, ...] = ("namespaces", "landlock", "none")
"""Every SandboxKind, strongest first."""

FailureKind = Literal["timeout", "crash", "memory", "invalid"]

MAX_NUMBER = 1e100
"""Size of the largest score or claim."""

Split = Literal["dev", "hidden", "sealed"]
"""The held-out data that a trial is scored on: `dev` guides the islands, `hidden` is used when a
stack is promoted, `sealed` once, for the final report."""

SPLITS: tuple[Split, ...] = ("dev", "hidden", "sealed")

Evidence = Literal["verified", "reported"]
"""How a score came about. `verified`: computed by the harness, or by a scorer that ran after the
candidate was dead and never imported it. `reported`: printed by a process in which the candidate's
code ran, which could print anything."""

EVIDENCE: tuple[Evidence, ...] = ("reported", "verified")
"""Every Evidence, weakest first."""

SCREENING_AUDIT, FULL_AUDIT = 512, 4096
"""Positions that are audited for look-ahead: in every trial, or fewer where little is scored
(`harness.tasks.gpt.audit`), and in those of a promotion. Of a toy model that gained 15 bits at each
look-ahead, the first found one at 0.1 % of all positions in 99 of 100 audits, the second one at
0.02 % in 9,998 of 10,000."""


SliceKind = Literal["cpu", "cuda", "mps"]
"""The kind of device that a slice is."""

MAX_WALL = 4.0
"""Wall time, in budgets, that a trial may take while others use its cores."""

LONG_WALL = 16.0
"""The same on a slice that stays busy, and outside runs."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A leased share of a device. A trial is pinned to exactly one.

    name: unique in a run
    kind: of the device
    cores: numbers of its CPU cores, empty if it is not pinned
    gpu: UUID or index for CUDA_VISIBLE_DEVICES, empty for none
    parent: if `gpu` is a MIG instance, the UUID of its GPU
    share: fraction of the device that it may use; below 1 other slices run on it too, its memory is
        capped, and its speed depends on them
    """

    name: str
    kind: SliceKind
    cores: tuple[int, ...] = ()
    gpu: str = ""
    parent: str = ""
    share: float = 1.0

    @property
    def device(self) -> str:
        """The class of device named in scores: a third of a GPU is not a GPU."""
        return self.kind if self.share >= 1 else f"{self.kind}-1of{round(1 / self.share)}"


@dataclass(frozen=True, slots=True)
class Rung:
    """A level of fidelity.

    depth: scale of the task
    seconds: budget of one trial, from exec to the end of its last process, by its clock: wall time
        less what others took of its cores
    memory_mib: most memory that all its processes may hold together
    """

    depth: int
    seconds: float
    memory_mib: int = 4096


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial: one commit, one rung, one seed, one slice.

    id: unique in a run
    task, data: names of the task and of its data
    commit: the commit it runs
    seed: fixes its randomness
    rung, slice: its budget and its device
    genome: folder with a plain export of the commit's genome, at the paths of the repository
    entry: path of the entry file below `genome`
    scratch: a folder that belongs to the harness
    sandbox: the confinement asked for; a weaker one is never given
    split: the held-out data that it is scored on
    audit: positions scored again for look-ahead (by tasks that have a model): SCREENING_AUDIT at
        most, or FULL_AUDIT for a promotion
    max_wall: wall time, in budgets, that it may take while others use its cores; beyond it is void
    problem: folder with the frozen problem (see `harness.problem`), "" for a task that needs none
    fresh: number, from 1, of the piece of fresh data that it is scored on as well, 0 for none
    door: folder with the Unix socket that leads to the problem's model, "" for none
    token: what opens that door, for as long as the trial runs
    """

    id: str
    task: str
    data: str
    commit: str
    seed: int
    rung: Rung
    slice: Slice
    genome: str
    entry: str
    scratch: str
    sandbox: SandboxKind = "namespaces"
    split: Split = "dev"
    audit: int = SCREENING_AUDIT
    max_wall: float = LONG_WALL
    problem: str = ""
    fresh: int = 0
    door: str = ""
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if self.audit < 2:  # noqa: PLR2004 - one drawn uniformly, one by gain
            raise ValueError(f"a trial is audited at 2 or more positions, not {self.audit}")


@dataclass(frozen=True, slots=True)
class Failure:
    """A trial that was let in, then broke.

    Agents may be shown `reason`, except for kind "invalid", which comes from scoring and would tell
    them how to score better: then `told`. Of a split other than "dev" they are shown nothing.

    kind: what ended it
    reason: one line
    told: of an invalid result, what agents may know: what their own process did, or what the
        judge's author wrote for them; "" for nothing
    """

    kind: FailureKind
    reason: str
    told: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a trial: a score or a failure, never both.

    trial: id of the trial
    harness: id of the harness; scores of different harnesses or splits are never compared
    sandbox: the confinement it ran in
    score: in the task's metric, None if it failed
    failure: None if it has a score
    seconds: wall time by phase; "budget" is the time inside the trial's own budget by its clock,
        "lost" what others took of it
    peak_mib: most memory that its processes held together
    facts: numbers that the harness knows (scored tokens, parameters)
    claims: numbers that the genome printed
    tail: end of the training log, cleaned and capped
    split: what it was scored on
    digests: sha256 by name of the artifacts that were scored, to tie a score to its weights
    evidence: whether the harness computed the score, or the candidate's own process reported it
    parts: in a trial on fresh data, the scores on parts of it (`fresh`) and of what `score` is on
        (`dev`), the same parts for every commit
    """

    trial: str
    harness: str
    sandbox: SandboxKind
    score: float | None = None
    failure: Failure | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    peak_mib: float = 0.0
    facts: Mapping[str, float] = field(default_factory=dict)
    claims: Mapping[str, float] = field(default_factory=dict)
    tail: str = ""
    split: Split = "dev"
    digests: Mapping[str, str] = field(default_factory=dict)
    evidence: Evidence = "verified"
    parts: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.score is None) == (self.failure is None):
            raise ValueError("an outcome is a score or a failure, never both and never neither")


@dataclass(frozen=True, slots=True)
class Preflight:
    """The result of a preflight: claims, good only for refusing a candidate early.

    ok: whether nothing speaks against a trial
    reason: one line against it, empty if `ok`
    parameters: of the trial's model, 0 if not known
    memory_mib: estimate of what training it holds at least, 0 if not known
    seconds: how long the preflight took
    tail: end of what it printed
    """

    ok: bool
    reason: str = ""
    parameters: int = 0
    memory_mib: float = 0.0
    seconds: float = 0.0
    tail: str = ""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of a problem's checks on one commit.

    ok: whether every command of `checks` exited with 0
    command: the one that failed, "" if `ok`
    reason: one line against the candidate, "" if `ok`
    tail: end of what that command printed
    seconds: wall time of all commands
    """

    ok: bool
    command: str = ""
    reason: str = ""
    tail: str = ""
    seconds: float = 0.0


class HarnessError(Exception):
    """The harness itself could not measure; the trial is void and runs again."""


class SuspectError(HarnessError):
    """The harness could not measure, and the candidate may have caused it.

    Where it follows one candidate twice it is that candidate's failure (`harness.faults`).
    """


VoidCause = Literal["harness", "busy", "still", "signal", "lost", "drift", "model"]
"""Why a trial is void: the harness failed, others had its cores, everything stood still, a signal
that nobody of ours sent ended it, its slice's process or the coordinator ended, its slice was
quarantined meanwhile, or the problem's model did not answer."""


class DisturbedError(HarnessError):
    """This machine disturbed a trial beyond what its clock corrects: it says nothing.

    cause: what happened
    """

    def __init__(self, reason: str, cause: VoidCause) -> None:
        super().__init__(reason)
        self.cause: VoidCause = cause


class SetupError(Exception):
    """Something that the user can fix on this machine; the message says what and how."""


def measurable(number: float) -> bool:
    """Return whether `number` can be a score or a claim: not NaN, and at most MAX_NUMBER in size.

    The ratchet squares differences of scores; a larger one would end a run for good.
    """
    return abs(number) <= MAX_NUMBER


def one_line(text: str, most: int) -> str:
    """Return untrusted `text` as one line of at most `most` characters, all of them printable.

    White space is folded; other unprintable characters are left out.
    """
    flat = "".join(filter(str.isprintable, " ".join(text[: 8 * most].split())))
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"


_TRIAL = TypeAdapter(Trial)
_OUTCOME = TypeAdapter(Outcome)
_PREFLIGHT = TypeAdapter(Preflight)
_CHECK = TypeAdapter(CheckResult)


def encode(record: Trial | Outcome | Preflight | CheckResult) -> str:
    """Return `record` as one line of JSON."""
    return json.dumps(dataclasses.asdict(record), separators=(",", ":"), allow_nan=False)


def decode_trial(line: str | bytes) -> Trial:
    """Return the trial that `encode` wrote. Raises pydantic.ValidationError on anything else."""
    return _TRIAL.validate_json(line)


def decode_outcome(line: str | bytes) -> Outcome:
    """Return the outcome that `encode` wrote. Raises pydantic.ValidationError on anything else."""
    return _OUTCOME.validate_json(line)


def decode_preflight(line: str | bytes) -> Preflight:
    """Return the preflight that `encode` wrote. Raises pydantic.ValidationError otherwise."""
    return _PREFLIGHT.validate_json(line)


def decode_check(line: str | bytes) -> CheckResult:
    """Return the result that `encode` wrote. Raises pydantic.ValidationError on anything else."""
    return _CHECK.validate_json(line)
