"""Events of a run's life: opened, resumed, stopped, its islands, and merges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from harness.contract import Direction, Evidence, Rung, Slice
from islands.records import RunLimit

FORMAT: Final = 2
"""Version of the record format. Raise it with every change that an older reader would misread."""


@dataclass(frozen=True, slots=True)
class RunOpened:
    """A run began.

    run: its name
    base: commit that it started from
    target: branch that its result is merged into
    task, data, metric: names of what is optimised, on what data, by what measure
    direction: whether a lower or a higher score is better
    genome: paths that candidates may change
    rungs: levels of fidelity, cheapest first
    harness: fingerprint of the harness that every score must come from
    seed: seed of all of the run's randomness
    baseline_seeds: how many seeds the base is measured on
    lines: lines of the genome at `base`, 0 if not counted
    evidence: what all scores are, unless the harness computes a trial's all the same
    checks: command lines that must exit with 0 on a candidate before it is kept
    program: path of its program.md in the repository
    usd_per_slice_hour: dollars that an hour of a slice counts as where costs are added up
    format: version of the record format
    fresh: pieces of fresh data that it can score keeps on, each once
    """

    run: str
    base: str
    target: str
    task: str
    data: str
    metric: str
    direction: Direction
    genome: tuple[str, ...]
    rungs: tuple[Rung, ...]
    harness: str
    seed: int
    baseline_seeds: int
    lines: int = 0
    evidence: Evidence = "verified"
    checks: tuple[str, ...] = ()
    program: str = "program.md"
    usd_per_slice_hour: float = 1.0
    format: Literal[2] = FORMAT
    fresh: int = 0
    recorded: float = 0.0
    kind: Literal["run_opened"] = "run_opened"


@dataclass(frozen=True, slots=True)
class RunResumed:
    """A coordinator resumed the run."""

    recorded: float = 0.0
    kind: Literal["run_resumed"] = "run_resumed"


@dataclass(frozen=True, slots=True)
class RunStopped:
    """A coordinator ended in good order.

    reason: the limit, the interrupt or the error that ended it
    limit: the limit that was reached, if one was
    """

    reason: str
    limit: RunLimit | None = None
    recorded: float = 0.0
    kind: Literal["run_stopped"] = "run_stopped"


@dataclass(frozen=True, slots=True)
class IslandOpened:
    """An island began.

    island: its name
    branch: its git branch
    head: commit that it started from
    agent: what proposes changes
    slice: what runs its trials
    """

    island: str
    branch: str
    head: str
    agent: str
    slice: Slice
    recorded: float = 0.0
    kind: Literal["island_opened"] = "island_opened"


@dataclass(frozen=True, slots=True)
class HeadAdopted:
    """An island adopted the head of another; that takes no trial.

    island: its name
    source: island whose head it adopted
    old, new: its head before and after
    changes: experiments that the new head is built on and the old one was not
    """

    island: str
    source: str
    old: str
    new: str
    changes: tuple[int, ...]
    recorded: float = 0.0
    kind: Literal["head_adopted"] = "head_adopted"


@dataclass(frozen=True, slots=True)
class Merged:
    """The consensus, or an island's head, was merged.

    island: the island, "" for the consensus
    head: commit that was merged
    commit: the merge
    target: branch that was merged into
    how: merge (two parents) or squash (one)
    forced: whether it was merged without having been promoted
    """

    island: str
    head: str
    commit: str
    target: str
    how: Literal["merge", "squash"] = "merge"
    forced: bool = False
    recorded: float = 0.0
    kind: Literal["merged"] = "merged"
