"""Void trials run again, later on a disturbed machine, and no candidate can hide in them."""

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest

from harness.contract import LONG_WALL, MAX_WALL
from islands import events as ev
from islands.state.voids import MAX_VOIDS_OF_CANDIDATE
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_islands
from swarm.executors.base import VoidError
from swarm.simulation.virtual_time import run_virtual
from tests.support.laboratory import SECONDS, LabExecutor, MemoryBranches, make_run


class Disturbed(LabExecutor):
    """Voids the trials for which `cause_of(trial, nth)` names a cause; notes their `max_wall`."""

    def __init__(self, branches, cause_of):
        super().__init__(branches)
        self.cause_of, self.walls, self.count = cause_of, [], 0

    async def run(self, trial):
        self.count += 1
        self.walls.append(trial.max_wall)
        cause = self.cause_of(trial, self.count)
        if cause:
            await asyncio.sleep(1.0)
            raise VoidError(f"{cause}!", cause)
        return await super().run(trial)


def simulate(tmp_path, cause_of, **changes):
    """Return a run of one island whose trials are disturbed so."""
    branches = MemoryBranches()
    executor = Disturbed(branches, cause_of)

    async def main():
        changes.setdefault("limits", RunLimits(trials=20))
        run = make_run(tmp_path, branches=branches, executor=executor, islands=1, **changes)
        await run_islands(run)
        return run

    return run_virtual(main())


def kinds(run, kind):
    """Return the events of one kind that a run recorded."""
    return [event for event in run.ledger.kept if isinstance(event, kind)]


def test_a_disturbed_slice_waits_ever_longer_and_then_allows_more_time(tmp_path):
    """Ten busy trials in a row do not stop a run; its trials may take longer after the second."""
    run = simulate(tmp_path, lambda trial, nth: "busy" if 6 <= nth <= 15 else "")
    voids = kinds(run, ev.TrialVoided)
    assert [void.cause for void in voids] == ["busy"] * 10
    assert run.state.trials == 20
    waits = [b.started.recorded - a.recorded for a, b in pairwise(voids)]
    assert waits[:4] == [SECONDS, 2 * SECONDS, 4 * SECONDS, 8 * SECONDS]
    assert max(waits) == 600.0
    walls = run.executor.walls
    assert walls[:7] == [MAX_WALL] * 7 and walls[7:16] == [LONG_WALL] * 9
    assert walls[16:] == [MAX_WALL] * len(walls[16:])
    assert run.state.voids.causes == {"busy": 10}
    assert run.state.voids.seconds == pytest.approx(10.0)


def test_a_run_that_is_only_disturbed_ends_within_its_minutes(tmp_path):
    """A wait never outlasts the last moment at which a trial could start."""
    run = simulate(tmp_path, lambda *_: "busy", limits=RunLimits(minutes=30))
    assert isinstance(run.ledger.kept[-1], ev.RunStopped)
    assert run.ledger.kept[-1].recorded <= 1800
    assert run.state.trials == 0


def test_a_trial_may_not_be_slowed_down_beyond_the_launchs_minutes(tmp_path):
    """Its wall time ends where the minutes do."""
    run = simulate(tmp_path, lambda *_: "", limits=RunLimits(minutes=3))
    walls = dict(zip(kinds(run, ev.TrialStarted), run.executor.walls, strict=True))
    ends = [begun.recorded + wall * SECONDS for begun, wall in walls.items()]
    assert walls[kinds(run, ev.TrialStarted)[0]] == MAX_WALL
    assert max(ends) == pytest.approx(180)


def test_a_candidate_that_is_void_again_and_again_is_dropped(tmp_path):
    """It is told why; the run goes on. Its head's and the base's trials are never dropped."""
    first = []

    def cause_of(trial, nth):
        if nth == 6:
            first.append(trial.commit)
        return "signal" if trial.commit in first else ""

    run = simulate(tmp_path, cause_of)
    assert len(kinds(run, ev.TrialVoided)) == MAX_VOIDS_OF_CANDIDATE - 1
    (failed,) = [e for e in kinds(run, ev.TrialEnded) if e.outcome.failure]
    assert failed.outcome.failure.reason == "3 of its trials in a row were void: signal!"
    (told,) = [a for a in run.agents["i0"].learned if a.ending == "failed"]
    assert "in a row were void" in told.reason
    assert run.state.trials == 20


def test_agents_are_told_that_a_discard_is_void(tmp_path):
    """An attempt that rests on a drifted slice is learnt once more, as void."""
    run = simulate(tmp_path, lambda *_: "")
    (verdict, *_) = [e for e in kinds(run, ev.VerdictReached) if e.verdict == "discard"]
    agent = run.agents["i0"]
    known = [a for a in agent.learned if a.experiment == verdict.experiment]
    discard = ev.VoidedDiscard(verdict.experiment, "i0")
    run.fold(ev.SliceQuarantined("s0", "it moved", "", (), (discard,)))
    (again,) = [a for a in agent.learned if a.experiment == verdict.experiment and a not in known]
    assert again == replace(known[0], ending="void", reason=again.reason, gain=None)
    assert again.reason == "void: slice s0 had drifted; not known to be worse"
