"""The interface of a task: run a genome, score its artifacts, say what makes a result invalid.

A new task kind is a module of `harness.tasks` with a `TASK` object that satisfies `Task`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.contract import Direction, Split, Trial
from harness.sandbox.policy import Exit, SandboxPolicy

RUNNERS = Path(__file__).parent.parent / "runners"

Confine = Callable[[SandboxPolicy, Sequence[str], Path], Exit]
"""`confine(policy, argv, log)` runs argv in a sandbox, its capped output going to file `log`."""


class InvalidError(Exception):
    """The candidate left no valid result; the message is one line for its agent."""


@dataclass(frozen=True, slots=True)
class SandboxRequest:
    """How to run a genome in a sandbox.

    The caller binds the genome read-only at /genome and an empty folder at /out for results.

    runner: file name of the script in `RUNNERS`
    args: its command-line arguments
    outputs: files taken from /out afterwards, each with its largest size in bytes
    read: further paths inside the sandbox, each with the host path bound there read-only
    """

    runner: str
    args: tuple[str, ...]
    outputs: Mapping[str, int]
    read: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskScore:
    """A score computed outside the candidate.

    score: in the task's metric
    facts: further numbers that the harness knows
    seconds: wall time of each phase of scoring
    """

    score: float
    facts: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


class Task(Protocol):
    """A kind of work for genomes: its data, how to run, how to score.

    name: as in program.md
    metric: name of the score
    direction: whether a lower or a higher score is better
    entry: name of the genome's file that a trial starts from
    torch: whether genomes import torch, so that sandboxes start faster from a process that has
    splits: what a trial can be scored on; only "dev" for a task without held-out data
    """

    name: str
    metric: str
    direction: Direction
    entry: str
    torch: bool
    splits: tuple[Split, ...]

    def prepare(self, data: str) -> str:
        """Make `data` ready without a download; return its digest. Raises SetupError with a fix."""

    def sandbox_request(self, trial: Trial) -> SandboxRequest:
        """Return how to run this trial's genome."""

    def preflight_request(self, trial: Trial) -> SandboxRequest:
        """Return how to try this trial's genome on a tiny input, without outputs.

        The runner prints `claim preflight_began 1` before any code of the genome runs, and may
        print `claim preflight_parameters` and `claim preflight_mib`. If it fails, its last line is
        the reason.
        """

    def score(self, artifacts: Mapping[str, Path], trial: Trial, confine: Confine) -> TaskScore:
        """Return the score on `trial.split` of the frozen files that the genome left.

        `artifacts` are the host paths, by name, of those outputs that it wrote. Raises InvalidError
        if they are not a result, HarnessError if the harness is at fault.
        """
