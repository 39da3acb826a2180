"""The task `function`: a frozen evaluate.py calls the genome's functions in a sandbox of their own.

    def evaluate(candidate, seed, part, reference, depth):  # all but the first may be left out
        found, seconds = candidate.timed("solve", make_input(seed))
        ...
        return {"score": ..., "another": ...}  # or the score alone

| what evaluate.py has | what it is |
| --- | --- |
| `candidate.solve(x)` | the result of the function `solve` of the genome's first file |
| `candidate.timed("solve", x)` | the same, and the seconds that it took, taken by the harness |
| `candidate.timed_each("solve", xs)` | the results for all `xs` in one call, and its seconds |
| `candidate.fresh()` | starts its process afresh: until then it may remember earlier calls |
| `candidate.call("name", x)` | calls a function that is named like one of these |
| `candidate.Error` | raised where it raises, ends, or returns what is not plain data |
| `raise candidate.Refused("why")` | refuses the candidate: its agent is told why |
| `candidate.nonfinite = True` | lets NaN and infinities in results pass |
| `reference` | the base's genome in a sandbox of its own, used like `candidate` |
| `part`, `os.environ["SWARM_HELD"]` | the split, and the path of what `held:` names for it, or "" |

Arguments and results are JSON, bytes and numpy arrays of numbers; a call takes 0.2 ms beside the
function itself. A speed is best a ratio: base against base, with 70 ms of calls a trial beside load
7 on 2 cores, its standard deviation was 7 % and that of plain seconds 14 %; with 3.6 s of calls
beside load 15 they were 5 % and 28 %. An exception that evaluate raises makes the trial invalid,
one of the candidate's that it does not catch makes it a crash.

Of an exception its agent is told the type and the line: the text may quote what is held. The text
of `candidate.Refused` is written for agents, so it must not.

`build` compiles a genome before its first trial (C for ctypes, Cython): the functions that evaluate
calls are those of the genome's first file, which is Python.

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
        | {"build", "mount"}
    )
    required: Mapping[str, str] = field(
        default_factory=lambda: {"metric": "speed", "direction": "maximize"}
    )
    fixed: Mapping[str, str] = field(default_factory=dict)
    entry: str = ""
    needs: tuple[str, ...] = ()

    def task_of(self, problem: str) -> Function:
        """Return the task of the problem that is frozen in the folder `problem`."""
        spec = read_spec(problem)
        return Function(spec, problem, spec.metric, spec.direction, spec.splits)


KIND = FunctionKind()
