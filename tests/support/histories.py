"""Events for tests of the record: a whole run's, and hypothesis strategies for hostile ones."""

import dataclasses
import types
import typing
from collections.abc import Mapping

from hypothesis import strategies as st

from harness.contract import Failure, Outcome
from islands import events as ev
from islands.migration import Migration
from islands.records import Entry, Proposal, Usage
from swarm.agents.base import AgentError
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_islands
from swarm.simulation.virtual_time import run_virtual
from tests.support.laboratory import GENOME, LabAgent, LabExecutor, MemoryBranches, make_run

HOSTILE = "Raise X\x1b[2J [red]'; DROP TABLE nodes; --\nsecond line\0"

RECORDED = HOSTILE.replace("\0", "\N{REPLACEMENT CHARACTER}")
"""The same in the record: git ends a message at a NUL."""


def lived(scratch, trials, islands=2):
    """Simulate a run in which each thing goes wrong once; return its events and its state."""
    branches = MemoryBranches()
    agents = {f"i{k}": LabAgent(script=_script(k)) for k in range(islands)}
    faults = {8: Failure("crash", "boom [bold]"), 32: Failure("timeout", "too late")}
    executor = LabExecutor(branches, faults=faults)

    async def main():
        run = make_run(
            scratch,
            islands=islands,
            branches=branches,
            agents=agents,
            executor=executor,
            limits=RunLimits(trials=trials),
            migration=Migration("complete", every=2),
        )
        await run_islands(run)
        return run

    run = run_virtual(main())
    return run.ledger.kept, run.state


def _script(k):
    """Return agent k's special calls: a failure, a refusal, a crossover that is kept."""
    outside = {"outside.py": Entry(b"x = 1\n")}
    better = {GENOME: Entry(f"X = 0.5{k}\n".encode())}
    return {
        2: Proposal("Begin", {GENOME: Entry(b"X = 0.2\n")}, notes={"scale": 2.5, "kind": "scale"}),
        3: AgentError("rate", "slow down", Usage(1, 20, 0, 0.1)),
        5: Proposal(HOSTILE, outside),
        7: Proposal("Cross X", better, notes={"crossed_with": 1.0}, usage=Usage(2, 30, 4, 0.2)),
    }


def events():
    """Return a strategy for any event with any content that JSON can hold."""
    return st.one_of([_of(kind) for kind in typing.get_args(ev.Event)])


def _of(hint):
    """Return a strategy for values of a type as the records annotate them."""
    plain = {
        str: st.text(),
        bool: st.booleans(),
        int: st.integers(-(2**63), 2**63 - 1),
        float: st.floats(allow_nan=False, allow_infinity=False),
        types.NoneType: st.none(),
    }
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint in plain:
        return plain[hint]
    if origin is typing.Literal:
        return st.sampled_from(inner)
    if origin in {typing.Union, types.UnionType}:
        return st.one_of([_of(option) for option in inner])
    if origin is tuple:
        return st.lists(_of(inner[0]), max_size=3).map(tuple)
    if origin is Mapping:
        return st.dictionaries(_of(inner[0]), _of(inner[1]), max_size=3)
    return _record(hint)


def _record(kind):
    hints = typing.get_type_hints(kind)
    fields = {field.name: _of(hints[field.name]) for field in dataclasses.fields(kind)}
    if kind is Outcome:
        scored = fields | {"score": _of(float), "failure": st.none()}
        broken = fields | {"score": st.none(), "failure": _of(Failure)}
        return st.one_of(st.builds(kind, **scored), st.builds(kind, **broken))
    return st.builds(kind, **fields)


def clock(step=1.0, start=1_700_000_000.123456):
    """Return a clock that advances by `step` seconds at each reading."""
    now = [start]

    def read():
        now[0] += step
        return now[0]

    return read
