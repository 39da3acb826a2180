"""What a task answers: how to run a genome, how to score what it left, what a bad result is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.contract import Direction, Split, Trial
from harness.sandbox.policy import Exit, SandboxPolicy

RUNNERS = Path(__file__).parent.parent / "runners"

Confine = Callable[[SandboxPolicy, Sequence[str], Path], Exit]
"""`confine(policy, argv, log)`: run argv in a box, its output (capped) going to the file `log`."""


class InvalidError(Exception):
    """The candidate left something that is not a result; the message is one line for its agent."""


@dataclass(frozen=True, slots=True)
class SandboxRequest:
    """How to run a genome: `program` is a file of `RUNNERS`, `args` follow it on the command line.

    `read` maps paths inside the box to host paths, read-only. The genome itself is bound
    read-only at /genome by the caller and `/out`, empty, is where results are left. `leaves` maps
    each file name that is taken from /out to the most bytes it may have.
    """

    program: str
    args: tuple[str, ...]
    leaves: Mapping[str, int]
    read: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scored:
    """A score computed outside the candidate, and numbers worth keeping beside it."""

    score: float
    facts: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


class Task(Protocol):
    """Data plus three answers, and a first look. Implementations are modules' `TASK` objects.

    `entry` is the name of the genome's file that a trial starts from; `torch` says that genomes
    import it, so that boxes are best started from a process that has done so already. `splits` are
    what a trial can be scored on: only "dev" where there is no text to hold out.
    """

    name: str
    metric: str
    direction: Direction
    entry: str
    torch: bool
    splits: tuple[Split, ...]

    def prepare(self, data: str) -> str:
        """Make `data` ready, fetching nothing, and return its digest. SetupError with the mend."""

    def box(self, trial: Trial) -> SandboxRequest:
        """Say how to run this trial's genome."""

    def preflight(self, trial: Trial) -> SandboxRequest:
        """Say how to look at this trial's genome on a tiny input; it leaves nothing.

        The program says `claim preflight_began 1` before anything of the genome's runs, and may
        say `preflight_parameters` and `preflight_mib`. What it prints last speaks against it.
        """

    def score(self, left: Mapping[str, Path], trial: Trial, confine: Confine) -> Scored:
        """Score the sealed files that the genome left (host paths, by name, those it wrote).

        The score is on `trial.part`, one of `splits`. Raises InvalidError where they are not a
        result, HarnessError where we are at fault.
        """
