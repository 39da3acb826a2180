"""What the harness and its callers agree on: a trial goes in, an outcome comes out.

Everything here is a frozen record that survives a trip through JSON (`encode`, `decode`), since
the harness runs in processes of its own. Paths are absolute strings. Times are wall seconds.
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

STRENGTH: tuple[SandboxKind, ...] = ("namespaces", "landlock", "none")
"""Every SandboxKind, strongest first."""

FailureKind = Literal["timeout", "crash", "memory", "invalid"]

Split = Literal["dev", "hidden", "sealed"]
"""What of the held-out data a trial is scored on: `dev` steers the islands, `hidden` is asked when
something is promoted, `sealed` once, for the final report."""

SCREENING_AUDIT, FULL_AUDIT = 512, 4096
"""Positions that are audited: of every trial, and of one that something is promoted on. Of a toy
whose peeks were worth 15 bits each, one at 0.1 % of all positions was met 99 times of 100 by the
first, one at 0.02 % 9,998 times of 10,000 by the second."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A leased share of a device. A trial is pinned to exactly one.

    `cores` are CPU numbers (empty: not pinned); `gpu` is a UUID or index for
    CUDA_VISIBLE_DEVICES (empty: none), of a MIG instance where `parent` is the GPU's that it is a
    part of. `share` is the part of that device which is the slice's: below 1 its neighbours run on
    it too, its memory is capped, and its clock is contended.
    """

    name: str
    kind: Literal["cpu", "cuda", "mps"]
    cores: tuple[int, ...] = ()
    gpu: str = ""
    parent: str = ""
    share: float = 1.0

    @property
    def device(self) -> str:
        """Return the class of device that scores stand for: a third of a GPU is no GPU."""
        return self.kind if self.share >= 1 else f"{self.kind}-1of{round(1 / self.share)}"


@dataclass(frozen=True, slots=True)
class Rung:
    """A level of fidelity.

    `depth` is the task's dial of scale, `seconds` the budget of one trial from exec to the death
    of its last descendant, `memory_mib` the most that all its processes may hold together.
    """

    depth: int
    seconds: float
    memory_mib: int = 4096


@dataclass(frozen=True, slots=True)
class Trial:
    """One commit, one rung, one seed, one slice.

    `genome` is a directory holding a plain export of the commit's genome, at the paths that the
    files have in the repository; `entry` is the path of the entry file below it. `scratch` is a
    directory of the harness's own. `sandbox` is the confinement asked for: less is
    never given. `split` is scored, and `audit` positions of it are asked again
    (SCREENING_AUDIT, or FULL_AUDIT before anything is promoted; tasks without a model have none).
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

    def __post_init__(self) -> None:
        if self.audit < 2:  # noqa: PLR2004  one drawn uniformly, one where a peek pays
            raise ValueError(f"a trial is audited at 2 positions at least, not {self.audit}")


@dataclass(frozen=True, slots=True)
class Failure:
    """Let in, then broke. `reason` is one line.

    Agents may be shown it, but for what is invalid: that comes from scoring, and would tell how to
    do better; nor anything of a split that is not "dev".
    """

    kind: FailureKind
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a trial came to: a score or a failure, never both.

    `harness` names the measure and `split` what it was scored on (scores of different harnesses or
    splits are never compared), `seconds` says where the wall time went by phase, of which `budget`
    is the share inside the trial's own budget. `facts` are numbers the harness knows (scored
    tokens, parameters), `claims` numbers the genome printed. `tail` is the cleaned, capped end of
    the training log. `digests` are the sha256 of what was sealed and scored, by name, so that a
    score can be tied to its weights.
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

    def __post_init__(self) -> None:
        if (self.score is None) == (self.failure is None):
            raise ValueError("an outcome is a score or a failure, never both and never neither")


@dataclass(frozen=True, slots=True)
class Preflight:
    """What a look at a candidate before its trial came to: claims, good for refusing it early.

    `reason` is one line against it (empty where it is `ok`) and `tail` the end of what it printed.
    `parameters` are those of the trial's model and `memory_mib` estimates what training it holds at
    least (both 0: not known), `seconds` is how long the look took.
    """

    ok: bool
    reason: str = ""
    parameters: int = 0
    memory_mib: float = 0.0
    seconds: float = 0.0
    tail: str = ""


class HarnessError(Exception):
    """The harness itself could not measure: nobody's score, the trial is void and runs again."""


class SetupError(Exception):
    """This machine lacks something the user can mend; the message names it and the mend."""


_TRIAL = TypeAdapter(Trial)
_OUTCOME = TypeAdapter(Outcome)
_PREFLIGHT = TypeAdapter(Preflight)


def encode(record: Trial | Outcome | Preflight) -> str:
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
