"""The task `command`: a command line of the user's that prints a number, on a candidate's genome.

A trial sees the frozen files of the launch commit with the candidate's genome in its places, all
read-only, at `harness.problem.spec.REPO`. The candidate's code runs in the process that prints the
score, so scores are reported evidence, except the harness's own measures, those of a scorer, which
reads the files that `run` left in $OUT (256 at most, no folders) and runs none of the candidate's
code, and those of a genome that is text, which the frozen command reads and does not run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.contract import (
    DOOR_SOCKET,
    Direction,
    Evidence,
    HarnessError,
    SetupError,
    Split,
    Trial,
)
from harness.problem import measures
from harness.problem.build import build, place_of
from harness.problem.command_sandbox import secret_values
from harness.problem.fresh import parts_of, pieces
from harness.problem.numbers import read_numbers
from harness.problem.scorer import failure_of, run_scorer
from harness.problem.spec import TREE, ProblemSpec, read_spec
from harness.problem.view import command_words, view_of
from harness.tasks.base import Confine, GenomeRun, InvalidError, SandboxRequest, TaskScore

RUNNER = "command.py"

DOOR = "/door"
"""Where `run` sees the folder of the socket that leads to the problem's model."""

MAX_LEFT_BYTES = 1 << 30
"""Largest file that `run` may leave to be measured."""


@dataclass(frozen=True, slots=True)
class Command:
    """One problem of the command task; see `harness.tasks.base.Task` for the fields."""

    problem: ProblemSpec
    folder: str
    metric: str
    direction: Direction
    evidence: Evidence
    name: str = "command"
    entry: str = ""
    torch: bool = False
    splits: tuple[Split, ...] = ("dev",)
    preflights: bool = False

    def prepare(self, data: str) -> str:
        """Return the digest of the problem; `data` says nothing here."""
        del data
        return self.problem.digest

    def fresh_pieces(self, data: str) -> int:
        """Return how many pieces of fresh cases the problem has."""
        del data
        return pieces(self.problem, self.folder)

    def make_ready(self, trial: Trial, confine: Confine) -> None:
        """Build the genome, if there is a `build` and it is not done yet."""
        if self.problem.build:
            build(self.problem, self.folder, trial, confine)

    def sandbox_request(self, trial: Trial) -> SandboxRequest:
        """Return how to run the command line on `trial`'s genome."""
        view = view_of(self.problem, self.folder, trial, self._built(trial))
        left = self._left()
        words, door, token = self._model(trial)
        return SandboxRequest(
            runner=RUNNER,
            args=("run", *command_words(self.problem, self.problem.run, trial), *words),
            outputs=None if self.problem.score else {left: MAX_LEFT_BYTES} if left else {},
            read={**view.frozen, **door},
            genome=view.genome,
            event_loop=True,
            all_packages=True,
            network=self.problem.network,
            env={**{name: os.environ.get(name, "") for name in self.problem.env}, **token},
            secrets=secret_values(self.problem, trial),
        )

    def _model(self, trial: Trial) -> tuple[tuple[str, ...], dict[str, Path], dict[str, str]]:
        """Return the words, the folder and the variable by which `run` reaches its model, if any.

        Raises SetupError where the sandbox has no sockets.
        """
        model = self.problem.model
        if model is None:
            return (), {}, {}
        if trial.sandbox == "landlock":
            raise SetupError("`model` needs `--sandbox namespaces`: Landlock has no sockets")
        if not trial.door:
            raise HarnessError("a trial came without a way to the problem's model")
        api = model.kind.upper()
        words = (f">{api}_BASE_URL", f"{DOOR}/{DOOR_SOCKET}", "SWARM_MODEL", model.name)
        return words, {DOOR: Path(trial.door)}, {f"{api}_API_KEY": trial.token}

    def preflight_request(self, trial: Trial) -> SandboxRequest:
        """Raise: a command has no tiny input."""
        raise NotImplementedError

    def score(self, run: GenomeRun, trial: Trial, confine: Confine) -> TaskScore:
        """Return the harness's own measure, what the scorer printed, or what the command did."""
        printed, facts = run.log.read_bytes(), measures.taken(run.ended)
        if measures.is_measured(self.metric):
            known = self.metric in facts
            value = facts[self.metric] if known else self._measured(run, trial)
            claims = read_numbers(printed, self.metric).claims
            return TaskScore(value, facts, evidence="verified", claims=claims)
        if not self.problem.score:
            score, others = self._numbers(printed)
            return TaskScore(score, facts, evidence=self.evidence, claims=others)
        claims = read_numbers(printed, self.metric).claims
        ended, scored = run_scorer(self.problem, self.folder, trial, run.artifacts, confine)
        if failure := failure_of(ended, scored, trial):
            raise InvalidError(*failure)
        score, others = self._numbers(scored)
        seconds = {"score": ended.start + ended.seconds}
        began, parts = time.monotonic(), self._parts(trial, confine) if trial.fresh else {}
        if parts:
            seconds["fresh"] = time.monotonic() - began
        return TaskScore(score, {**others, **facts}, seconds, "verified", claims, parts)

    def _parts(self, trial: Trial, confine: Confine) -> dict[str, tuple[float, ...]]:
        """Return the scores on parts of dev and of the trial's piece of fresh cases."""
        scores = dict[str, tuple[float, ...]]()
        for name, part in parts_of(self.problem, self.folder, trial):
            ended, scored = run_scorer(self.problem, self.folder, trial, {}, confine, part)
            if failure := failure_of(ended, scored, trial):
                raise InvalidError(*failure)
            scores[name] = (*scores.get(name, ()), self._numbers(scored)[0])
        return scores

    def _numbers(self, printed: bytes) -> tuple[float, Mapping[str, float]]:
        """Return the metric and the other numbers printed. Raises InvalidError without a metric."""
        numbers = read_numbers(printed, self.metric, self.problem.pattern)
        if numbers.metric is None:
            # the lines of a scorer may hold what it alone sees
            told = "" if self.problem.score else numbers.problem
            raise InvalidError(numbers.problem, told)
        return numbers.metric, numbers.claims

    def _measured(self, run: GenomeRun, trial: Trial) -> float:
        """Return the lines of the genome, or the bytes of the path that the metric names."""
        try:
            size = self._size(run, trial)
        except measures.UnmeasurableError as error:
            raise InvalidError.open(f"{self.metric}: {error}") from None
        if size is None:
            path = measures.sized_path(self.metric)
            raise InvalidError.open(f"{path} does not exist, and {self.metric} is its size")
        return size

    def _size(self, run: GenomeRun, trial: Trial) -> int | None:
        genome = Path(trial.genome)
        if self.metric == measures.LINES:
            return measures.count_lines(genome)
        roots = [genome, self._built(trial) or genome, Path(self.folder) / TREE]
        path = Path(self.problem.folder, measures.sized_path(self.metric))
        return measures.size_of(str(path), roots, run.artifacts.values())

    def _left(self) -> str:
        """Return the name of the file that `run` may leave in $OUT for its size, "" for none."""
        path = measures.sized_path(self.metric)
        return path if "/" not in path else ""

    def _built(self, trial: Trial) -> Path | None:
        return place_of(self.problem, self.folder, trial) if self.problem.build else None


@dataclass(frozen=True, slots=True)
class CommandKind:
    """The kind of task `command`; see `harness.tasks.base.TaskKind` for the fields."""

    default_data: str = "none"
    keys: frozenset[str] = frozenset(
        {"run", "metric", "direction", "files", "python", "build", "mount", "score", "held"}
        | {"prepare", "text", "network", "env", "model", "checks", "check_seconds"}
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
    needs: tuple[str, ...] = ()

    def task_of(self, problem: str) -> Command:
        """Return the task of the problem that is frozen in the folder `problem`."""
        spec = read_spec(problem)
        own = spec.score or spec.text or measures.is_measured(spec.metric)
        evidence: Evidence = "verified" if own else "reported"
        return Command(
            spec, problem, spec.metric, spec.direction, splits=spec.splits, evidence=evidence
        )


KIND = CommandKind()
