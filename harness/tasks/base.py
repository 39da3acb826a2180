"""The interface of a task: run a genome, score what it left, say what makes a result invalid.

A new kind of task is a module of `harness.tasks` with a `KIND` object that satisfies `TaskKind`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

from harness.contract import Direction, Evidence, Failure, Split, Trial
from harness.installation import require_extra
from harness.sandbox import Running
from harness.sandbox.policy import Exit, SandboxPolicy

RUNNERS = Path(__file__).parent.parent / "runners"

Confine = Callable[[SandboxPolicy, Sequence[str], Path], Exit]
"""`confine(policy, argv, log)` runs argv in a sandbox, its capped output going to file `log`."""

StartSandbox = Callable[[SandboxPolicy, Sequence[str], Path], Running]
"""`start(policy, argv, log)` does so beside other sandboxes, once its block is entered."""


class InvalidError(Exception):
    """The candidate left no valid result; the message is one line for people.

    told: what its agent may know of it, "" for nothing
    """

    def __init__(self, reason: str, told: str = "") -> None:
        super().__init__(reason)
        self.told = told

    @classmethod
    def open(cls, reason: str) -> Self:
        """Return one whose reason holds nothing that its agent may not know."""
        return cls(reason, reason)

    @property
    def failure(self) -> Failure:
        """The failure that it is."""
        return Failure("invalid", str(self), self.told)


@dataclass(frozen=True, slots=True)
class SandboxRequest:
    """How to run a genome in a sandbox.

    The caller binds an empty folder for results at /out.

    runner: file name of the script in `RUNNERS`
    args: its command-line arguments
    outputs: files taken from /out afterwards, each with its largest size in bytes; None: every
        regular file that is not in a folder
    read: further paths inside the sandbox, each with the host path bound there read-only
    genome: the paths among these that the candidate supplies; None: its whole genome at /genome
    env: variables
    secrets: values, those of `env` among them, that no record may hold
    all_packages, bare, event_loop, network: see `SandboxPolicy`
    """

    runner: str
    args: tuple[str, ...]
    outputs: Mapping[str, int] | None
    read: Mapping[str, Path] = field(default_factory=dict)
    genome: Mapping[str, Path] | None = None
    all_packages: bool = False
    bare: bool = False
    event_loop: bool = False
    network: bool = False
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class GenomeRun:
    """A genome's run, which ended well: what is left of it when all of its processes are dead.

    artifacts: host paths, by name, of those outputs that it wrote
    log: what it printed, capped
    ended: what the harness saw of it
    """

    artifacts: Mapping[str, Path]
    log: Path
    ended: Exit


@dataclass(frozen=True, slots=True)
class TaskScore:
    """A score.

    score: in the task's metric
    facts: further numbers that the harness knows
    seconds: wall time of each phase of scoring
    evidence: `verified` if it was computed outside the candidate, `reported` if one of its
        processes printed it
    claims: numbers that the candidate's process printed
    parts: in a trial on fresh data, its scores by part (see `harness.contract.Outcome`)
    """

    score: float
    facts: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    evidence: Evidence = "verified"
    claims: Mapping[str, float] = field(default_factory=dict)
    parts: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Conversation:
    """A trial in which a genome was called, in place of a run: a score or a failure.

    ended: what the harness saw of the candidate; `seconds` are those of its calls
    """

    ended: Exit
    scored: TaskScore | None
    failure: Failure | None


class Task(Protocol):
    """One problem for genomes: its data, how to run, how to score.

    name: as in program.md
    metric: name of the score
    direction: whether a lower or a higher score is better
    entry: name of the genome's file that a trial starts from, "" where no file must exist
    torch: whether genomes import torch, so that sandboxes start faster from a process that has
    splits: what a trial can be scored on; only "dev" for a task without held-out data
    evidence: what all of its scores are
    preflights: whether a candidate can be tried on less than a trial (`preflight_request`)
    """

    @property
    def name(self) -> str: ...

    @property
    def metric(self) -> str: ...

    @property
    def direction(self) -> Direction: ...

    @property
    def entry(self) -> str: ...

    @property
    def torch(self) -> bool: ...

    @property
    def splits(self) -> tuple[Split, ...]: ...

    @property
    def evidence(self) -> Evidence: ...

    @property
    def preflights(self) -> bool: ...

    def prepare(self, data: str) -> str:
        """Make `data` ready without a download; return its digest. Raises SetupError with a fix."""

    def fresh_pieces(self, data: str) -> int:
        """Return how many pieces of fresh data there are, each to be scored on once in a run."""

    def make_ready(self, trial: Trial, confine: Confine) -> None:
        """Build this trial's genome, outside its budget, if the task builds any.

        Raises `harness.problem.build.BuildFailedError` where the genome is at fault.
        """

    def sandbox_request(self, trial: Trial) -> SandboxRequest:
        """Return how to run this trial's genome, which is ready."""

    def preflight_request(self, trial: Trial) -> SandboxRequest:
        """Return how to try this trial's genome on a tiny input, without outputs.

        The runner prints `claim preflight_began 1` before any code of the genome runs, and may
        print `claim preflight_parameters` and `claim preflight_mib`. If it fails, its last line is
        the reason. Never called where `preflights` is false.
        """

    def score(self, run: GenomeRun, trial: Trial, confine: Confine) -> TaskScore:
        """Return the score on `trial.split` of what the genome left.

        Raises InvalidError if that is no result, HarnessError if the harness is at fault.
        """


@runtime_checkable
class CallingTask(Protocol):
    """A task whose genomes are called by a judge beside them, instead of run and then scored."""

    def converse(self, trial: Trial, start: StartSandbox, work: Path) -> Conversation:
        """Let the judge call the genome; `work` is an empty folder, `work / "log"` for its output.

        Raises HarnessError if the harness is at fault.
        """


class TaskKind(Protocol):
    """A kind of task: the keys of program.md that describe a problem of it.

    default_data: name of the data that it uses if program.md names none
    keys: those of `swarm.project.schema.settings.PROBLEM_KEYS` that it takes
    required: those of them that must be given, each with an example value
    fixed: values of keys that may be written down but are the kind's own
    entry: name of the genome's file that a trial starts from, "" where no file must exist
    needs: modules that the extra of the kind's name installs
    """

    @property
    def needs(self) -> tuple[str, ...]: ...

    @property
    def default_data(self) -> str: ...

    @property
    def keys(self) -> frozenset[str]: ...

    @property
    def required(self) -> Mapping[str, str]: ...

    @property
    def fixed(self) -> Mapping[str, str]: ...

    @property
    def entry(self) -> str: ...

    def task_of(self, problem: str) -> Task:
        """Return the task of the problem that is frozen in the folder `problem`.

        Raises SetupError if none is, where the kind needs one.
        """


@dataclass(frozen=True, slots=True)
class BuiltInKind:
    """A kind of task with a single problem, that of swarm's own: `data` is all that can vary."""

    task: Task
    default_data: str
    needs: tuple[str, ...] = ()
    """Modules that the extra of the task's name installs."""
    keys: frozenset[str] = frozenset({"data", "metric", "direction"})
    required: Mapping[str, str] = field(default_factory=dict)

    @property
    def fixed(self) -> Mapping[str, str]:
        """The metric and its direction."""
        return {"metric": self.task.metric, "direction": self.task.direction}

    @property
    def entry(self) -> str:
        """The task's entry."""
        return self.task.entry

    def task_of(self, problem: str) -> Task:  # noqa: ARG002 - there is only one
        """Return the task. Raises SetupError where what it needs is not installed."""
        require_extra(self.task.name, f"task {self.task.name}", self.needs)
        return self.task
