"""The task `command`: a command line of the user's that prints a number, on a candidate's genome.

A trial sees the frozen files of the launch commit with the candidate's genome in its places, all
read-only, at `harness.problem.spec.REPO`. The candidate's code runs in the process that prints the
score, so scores are reported evidence, except those of a scorer, which reads the files that `run`
left in $OUT (256 at most, no folders) and runs none of the candidate's code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.contract import Direction, Evidence, Split, Trial
from harness.problem.numbers import read_numbers
from harness.problem.scorer import failure_of, run_scorer
from harness.problem.spec import ProblemSpec, read_spec
from harness.problem.view import command_words, view_of
from harness.tasks.base import Confine, GenomeRun, InvalidError, SandboxRequest, TaskScore


@dataclass(frozen=True, slots=True)
class Command:
    """One problem of the command task; see `harness.tasks.base.Task` for the fields."""

    problem: ProblemSpec
    folder: str
    metric: str
    direction: Direction
    name: str = "command"
    entry: str = ""
    torch: bool = False
    splits: tuple[Split, ...] = ("dev",)
    evidence: Evidence = "reported"
    preflights: bool = False

    def prepare(self, data: str) -> str:
        """Return the digest of the problem; `data` says nothing here."""
        del data
        return self.problem.digest

    def sandbox_request(self, trial: Trial) -> SandboxRequest:
        """Return how to run the command line on `trial`'s genome."""
        view = view_of(self.problem, self.folder, trial)
        return SandboxRequest(
            runner="command.py",
            args=command_words(self.problem, self.problem.run, trial),
            outputs=None if self.problem.score else {},
            read=view.frozen,
            genome=view.genome,
            all_packages=True,
        )

    def preflight_request(self, trial: Trial) -> SandboxRequest:
        """Raise: a command has no tiny input."""
        raise NotImplementedError

    def score(self, run: GenomeRun, trial: Trial, confine: Confine) -> TaskScore:
        """Return the number that the command printed, or the scorer if there is one."""
        printed = run.log.read_bytes()
        if not self.problem.score:
            score, others = self._numbers(printed)
            return TaskScore(score, evidence="reported", claims=others)
        claims = read_numbers(printed, self.metric).claims
        ended, scored = run_scorer(self.problem, self.folder, trial, run.artifacts, confine)
        if reason := failure_of(ended, scored, trial):
            raise InvalidError(reason)
        score, others = self._numbers(scored)
        seconds = {"score": ended.start + ended.seconds}
        return TaskScore(score, others, seconds, "verified", claims)

    def _numbers(self, printed: bytes) -> tuple[float, Mapping[str, float]]:
        """Return the metric and the other numbers printed. Raises InvalidError without a metric."""
        numbers = read_numbers(printed, self.metric, self.problem.pattern)
        if numbers.metric is None:
            raise InvalidError(numbers.problem)
        return numbers.metric, numbers.claims


@dataclass(frozen=True, slots=True)
class CommandKind:
    """The kind of task `command`; see `harness.tasks.base.TaskKind` for the fields."""

    default_data: str = "none"
    keys: frozenset[str] = frozenset(
        {"run", "metric", "direction", "files", "python", "score", "held"}
    )
    required: Mapping[str, str] = field(
        default_factory=lambda: {
            "run": "python bench.py",
            "metric": "ops/s",
            "direction": "maximize",
        }
    )
    fixed: Mapping[str, str] = field(default_factory=dict)
    entry: str = ""

    def task_of(self, problem: str) -> Command:
        """Return the task of the problem that is frozen in the folder `problem`."""
        spec = read_spec(problem)
        evidence: Evidence = "verified" if spec.score else "reported"
        return Command(
            spec, problem, spec.metric, spec.direction, splits=spec.splits, evidence=evidence
        )


KIND = CommandKind()
