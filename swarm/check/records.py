"""Records of `swarm check`: what was run on the base, and the findings that it led to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from harness.contract import CheckResult, Direction, Evidence, Outcome
from islands.ratchet.noise import Noise, spread

Severity = Literal["ok", "warn", "error"]

LEFT, SAW = "swarm-left", "swarm-saw"
"""First words of the lines by which the probe tells what a run left and which names it saw."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that trials of the base show.

    - `subject`: what it is about, one or two words
    - `text`: one line
    - `fix`: what to do about it, "" where nothing need be done
    """

    severity: Severity
    subject: str
    text: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class BaseTrial:
    """One trial of the base.

    - `seed`: its seed; each is run twice, unless the check is quick
    - `wall`: seconds from the request to the outcome
    """

    seed: int
    outcome: Outcome
    wall: float


@dataclass(frozen=True, slots=True)
class BaseRuns:
    """All that was run.

    - `trials`: of the base, at least one
    - `broken`: a trial of the genome with all its files broken, None where that was not tried
    - `again`: a trial that runs the command twice and reads the second, None where not tried
    - `checked`: the checks of the base, None where there are none
    - `slices`: how many run at a time
    - `limit`: seconds that a trial may take
    - `fills_time`: whether trials are meant to take all of that
    - `text`: whether the genome is read and not run
    - `cut`: whether trials of a run may take longer than `limit`
    - `sees`: what a trial is given, "" where that is the task's own
    - `task`: name of the kind of task
    - `printed_by`: the genome's file that prints the metric, "" for none
    - `required`: whether anything but the metric is asked of a candidate
    """

    metric: str
    direction: Direction
    trials: tuple[BaseTrial, ...]
    broken: Outcome | None = None
    again: Outcome | None = None
    checked: CheckResult | None = None
    slices: int = 1
    limit: float = 0.0
    evidence: Evidence = "verified"
    fills_time: bool = False
    text: bool = False
    sees: str = ""
    cut: bool = False
    task: str = "command"
    printed_by: str = ""
    required: bool = True

    @property
    def scored(self) -> tuple[BaseTrial, ...]:
        """The trials that have a score."""
        return tuple(trial for trial in self.trials if trial.outcome.score is not None)

    @property
    def by_seed(self) -> Mapping[int, tuple[float, ...]]:
        """The scores of each seed."""
        scores: dict[int, tuple[float, ...]] = {}
        for trial in self.scored:
            if trial.outcome.score is not None:
                scores[trial.seed] = (*scores.get(trial.seed, ()), trial.outcome.score)
        return scores

    @property
    def noise(self) -> Noise:
        """The noise that a run would start with: the spread of one score a seed."""
        firsts = [scores[0] for scores in self.by_seed.values()]
        return Noise(spread(firsts), len(firsts))


def counted(count: int, noun: str) -> str:
    """Return "1 slice", "2 slices"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
