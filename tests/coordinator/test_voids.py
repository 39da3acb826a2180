"""Void trials run again, later on a disturbed machine, and no candidate can hide in them."""

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest

from harness.contract import LONG_WALL, MAX_WALL, HarnessError
from islands import events as ev
from islands.records import Entry, Proposal
from islands.state.voids import MAX_VOIDS_OF_COMMIT
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_islands
from swarm.executors.base import VoidError
from swarm.simulation.virtual_time import run_virtual
from tests.support.laboratory import (
    GENOME,
    SECONDS,
    LabAgent,
    LabExecutor,
    MemoryBranches,
    make_run,
    value,
)


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
        watch = changes.pop("watch", None)
        run = make_run(tmp_path, branches=branches, executor=executor, islands=1, **changes)
        run.watch = watch or run.watch
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
    """The base shows in between that the machine is sound; its agent is told why it failed."""
    first = []

    def cause_of(trial, nth):
        if nth == 6:
            first.append(trial.commit)
        return "signal" if trial.commit in first else ""

    run = simulate(tmp_path, cause_of)
    voids = kinds(run, ev.TrialVoided)
    assert len(voids) == MAX_VOIDS_OF_COMMIT - 1
    events = run.ledger.kept
    after = [e for e in events[events.index(voids[-1]) :] if isinstance(e, ev.TrialStarted)]
    assert [(e.purpose, e.commit) for e in after[:2]] == [
        ("sentinel", "base"),
        (voids[-1].started.purpose, first[0]),
    ]
    (told,) = [a for a in run.agents["i0"].learned if a.ending == "failed"]
    assert "void again and again, and the base's were not: signal!" in told.reason
    assert run.state.trials == 20


HOSTILE = 100.0
CAUSES = (*("harness", "signal", "lost") * 4, "busy", "still")


def hostile(branches):
    """Return the cause by which each hostile candidate makes its trials void."""

    def cause_of(trial, nth):
        x = value(branches, trial.commit)
        return CAUSES[int(x) % len(CAUSES)] if x >= HOSTILE else ""

    return cause_of


class Saboteur(LabAgent):
    """Proposes nothing but candidates that make their own trials void."""

    async def propose(self, brief):
        self.calls += 1
        await asyncio.sleep(self.think)
        text = f"X = {HOSTILE + self.calls}\n".encode()
        return Proposal(f"void {self.calls}", {GENOME: Entry(text)})


def beside(tmp_path, agents):
    """Return a run of two hours of an honest island beside those of other `agents`."""
    branches = MemoryBranches()
    agents = {"i0": LabAgent(), **{f"i{k}": agent for k, agent in enumerate(agents, 1)}}

    async def main():
        run = make_run(
            tmp_path,
            branches=branches,
            agents=agents,
            executor=Disturbed(branches, hostile(branches)),
            islands=len(agents),
            limits=RunLimits(minutes=120),
        )
        await run_islands(run)
        return run

    return run_virtual(main())


def test_hostile_candidates_delay_and_stop_nobody(tmp_path):
    """Of over 50, each void in its own way, none stops the run, voids, delays or slows others.

    Each is dropped after its few trials, and so delays its own island by no more than these.
    """
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    alone, run = beside(tmp_path / "a", []), beside(tmp_path / "b", [Saboteur()])
    assert run.ledger.kept[-1].limit == "minutes"
    dropped = run.state.islands["i1"].endings["failed"]
    assert dropped > 50
    assert sum(run.state.voids.causes.values()) > 2 * dropped
    honest = [e for e in kinds(run, ev.TrialEnded) if e.started.island == "i0"]
    assert {e.recorded - e.started.recorded for e in honest} == {SECONDS}
    assert not [e for e in kinds(run, ev.TrialVoided) if e.started.island == "i0"]
    trials = [each.state.islands["i0"].trials for each in (alone, run)]
    assert 0.97 < trials[1] / trials[0] < 1.03
    longest = 0.0
    for number in {e.started.experiment for e in kinds(run, ev.TrialVoided)} - {0}:
        of = [
            e.started.recorded for e in kinds(run, ev.TrialVoided) if e.started.experiment == number
        ]
        longest = max(longest, max(of) - min(of))
    assert longest < 3600


def test_a_head_that_voids_its_trials_is_invalid(tmp_path):
    """Kept first, then void again and again: its island falls back, and goes on."""
    kept = []

    def cause_of(trial, nth):
        return "signal" if trial.commit in kept else ""

    def watch(event, state):
        if isinstance(event, ev.VerdictReached) and event.verdict == "keep" and not kept:
            kept.append(event.commit)

    run = simulate(tmp_path, cause_of, watch=watch, limits=RunLimits(trials=80))
    (event,) = kinds(run, ev.CommitQuarantined)
    assert event.commit == kept[0]
    assert run.ledger.kept[-1].limit == "trials"


def test_a_machine_on_which_the_base_is_void_stops_the_run(tmp_path):
    """After five of the base's trials, which nothing of a candidate's is in."""
    with pytest.raises(HarnessError, match="5 trials of the base in a row were void: harness!"):
        simulate(tmp_path, lambda trial, nth: "harness" if nth > 8 else "")


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
