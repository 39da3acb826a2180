"""Every wait ends: whatever its slices do, a run ends within its limits or says why it cannot."""

import os
from contextlib import suppress
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.contract import Failure, HarnessError, SetupError
from islands import events as ev
from islands.drift.sentinels import MAX_PROBES
from islands.migration import Migration
from islands.ratchet.policy import RatchetPolicy
from islands.stacking.state import StackPolicy
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_islands
from swarm.executors.base import VoidError
from swarm.simulation.virtual_time import run_virtual
from tests.support.laboratory import (
    SECONDS,
    LabAgent,
    LabExecutor,
    MemoryBranches,
    MemoryLedger,
    make_run,
)

MINUTES = 40


@dataclass
class RestlessExecutor(LabExecutor):
    """A slice adds to its n-th score the n-th of its `moves`, in turn; None fails, "" is void."""

    moves: dict = field(default_factory=dict)
    count: dict = field(default_factory=dict)

    async def run(self, trial):
        outcome = await super().run(trial)
        name = trial.slice.name
        moves, turn = self.moves.get(name, [0.0]), self.count.get(name, 0)
        self.count[name] = turn + 1
        move = moves[turn % len(moves)]
        if move == "":
            raise VoidError("others used the slice")
        if move is None:
            return replace(outcome, score=None, failure=Failure("crash", "exit status 1"))
        return replace(outcome, score=outcome.score + move)


def ended(tmp_path, moves, ledger=None, branches=None, minutes=MINUTES, **policy):
    """Return a run on slices that move so once it has ended, be it with an error for the user."""
    branches, run = branches or MemoryBranches(), None
    executor = RestlessExecutor(branches, moves=moves)

    async def main():
        nonlocal run
        run = make_run(
            tmp_path,
            ledger=ledger,
            branches=branches,
            executor=executor,
            agents={f"i{k}": LabAgent(think=7.0, step=0.1) for k in range(len(moves))},
            islands=len(moves),
            limits=RunLimits(minutes=minutes),
            ratchet=RatchetPolicy(sentinel_every=4),
        )
        run.launch = replace(run.launch, **policy)
        await run_islands(run)

    with suppress(SetupError, HarnessError):
        run_virtual(main())
    return run


def check_ended(run, minutes=MINUTES):
    """Assert that a run recorded its end, and within its minutes."""
    assert isinstance(run.ledger.kept[-1], ev.RunStopped)
    assert run.ledger.kept[-1].recorded - run.ledger.kept[0].recorded <= 60 * minutes


def test_two_unsteady_slices_are_probed_in_turn_ever_more_slowly(tmp_path):
    """Where no slice settles, each gets its probes, and the run stops with the reason."""
    restless = [0.0] * 40 + [0.5 * n for n in range(1, 400)]
    run = ended(tmp_path, {"s0": restless, "s1": restless}, minutes=120)
    check_ended(run, minutes=120)
    assert "no slice measures steadily: s0: its" in run.ledger.kept[-1].reason
    begun = [e for e in run.ledger.kept if isinstance(e, ev.TrialStarted)]
    last = begun[-2 * MAX_PROBES :]
    assert {e.purpose for e in last} == {"sentinel"}
    assert [e.slice for e in last].count("s0") == MAX_PROBES
    assert last[-1].recorded - last[0].recorded > 40 * SECONDS


EXAMPLES = int(os.environ.get("SWARM_EXAMPLES", "8"))
MOVE = st.sampled_from([0.0, 0.0, 0.0, 0.003, 0.5, -0.5, 3.0, None, ""])
MOVES = st.lists(MOVE, min_size=1, max_size=12)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    steady=st.integers(0, 60),
    moves=st.lists(MOVES, min_size=1, max_size=3),
    cut=st.integers(1, 600),
    resumed=st.lists(MOVES, min_size=3, max_size=3),
)
def test_any_pattern_of_unsteady_slices_ends_within_the_limits(
    tmp_path_factory, steady, moves, cut, resumed
):
    """From an empty ledger, and resumed from anywhere in it with other unsteadiness."""
    folder, branches = tmp_path_factory.getbasetemp(), MemoryBranches()
    slow = [[0.0] * steady + [move for move in one for _ in range(6)] for one in moves]
    policy = {"stacking": StackPolicy(every=2, share=0.5), "migration": Migration()}
    names = [f"s{k}" for k in range(len(moves))]
    first = ended(folder, dict(zip(names, slow, strict=True)), branches=branches, **policy)
    check_ended(first)
    ledger = MemoryLedger(first.ledger.kept[: cut % len(first.ledger.kept) + 1])
    moved = [e.commit for e in ledger.kept if isinstance(e, ev.ConsensusMoved)]
    branches.heads["consensus"] = moved[-1] if moved else ""
    again = ended(
        folder, dict(zip(names, resumed, strict=False)), ledger, branches, minutes=15, **policy
    )
    assert isinstance(again.ledger.kept[-1], ev.RunStopped)
    assert again.ledger.kept[-1].recorded <= 60 * 15
