"""The task `function`: a frozen evaluate.py calls the genome's functions in a sandbox of their own.

- `task` is a trial; `relay` passes calls on and takes the time, in the format of problem.wire;
- harness/runners/function_evaluate.py runs evaluate.py, function_candidate.py the genome.

Imported by harness.tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.problem.spec import read_spec
from harness.tasks.function.task import Function


@dataclass(frozen=True, slots=True)
class FunctionKind:
    """The kind of task `function`; see `harness.tasks.base.TaskKind` for the fields."""

    default_data: str = "none"
    keys: frozenset[str] = frozenset(
        {"evaluate", "metric", "direction", "files", "python", "held", "checks", "check_seconds"}
    )
    required: Mapping[str, str] = field(
        default_factory=lambda: {"metric": "speed", "direction": "maximize"}
    )
    fixed: Mapping[str, str] = field(default_factory=dict)
    entry: str = ""

    def task_of(self, problem: str) -> Function:
        """Return the task of the problem that is frozen in the folder `problem`."""
        spec = read_spec(problem)
        return Function(spec, problem, spec.metric, spec.direction, spec.splits)


KIND = FunctionKind()
