"""Runs on machines of 1, 2 and 8 GPUs, of shares, and of unlike ones, on virtual time."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field, replace

import pytest

import swarm.executors.slices
from harness.contract import Rung
from islands import events as ev
from islands.stacking.state import StackPolicy
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_islands
from swarm.executors.nvml import find_gpus
from swarm.executors.slices import discover
from swarm.project.schema.judging import RatchetSection, guards_of
from swarm.project.schema.settings import SlicesSection
from swarm.simulation.virtual_time import run_virtual
from tests.support.laboratory import (
    LabAgent,
    LabExecutor,
    MemoryBranches,
    MemoryLedger,
    make_run,
    value,
)
from tests.support.nvml import FakeNvml

RUNGS = (Rung(8, 300.0), Rung(12, 600.0))
OVERHEAD_S = 40.0
"""Scoring and audit of a trial, beyond its budget."""

MIG = ("MIG-1", "MIG-2")
MACHINES = {
    "one": ({"GPU-0": None}, 1),
    "two": (dict.fromkeys(["GPU-0", "GPU-1"]), 1),
    "eight": (dict.fromkeys(f"GPU-{n}" for n in range(8)), 1),
    "two in halves": (dict.fromkeys(["GPU-0", "GPU-1"]), 2),
    "mixed": ({"GPU-0": None, "GPU-1": MIG, "GPU-2": None}, 1),
}
SLOW = {"MIG-1": 0.3, "MIG-2": 0.3, "GPU-2": 0.1}
"""By how much scores are worse on the lesser devices of the mixed machine: 10 to 30 times noise."""


@dataclass
class Machine(LabExecutor):
    """Trials last their budget and their scoring; a lesser device trains fewer steps in it."""

    slow: dict = field(default_factory=dict)
    seconds_of: dict = field(default_factory=lambda: defaultdict(float))

    async def run(self, trial):
        self.seconds = trial.rung.seconds + OVERHEAD_S
        began = asyncio.get_running_loop().time()
        outcome = await super().run(trial)
        self.seconds_of[trial.slice] += asyncio.get_running_loop().time() - began
        score = outcome.score + self.slow.get(trial.slice.gpu, 0.0)
        return replace(outcome, score=score, split=trial.split)


@dataclass(frozen=True)
class Night:
    """A finished run: its slices, the executor, the ledger, and the share of time that is idle."""

    slices: tuple
    executor: Machine
    events: tuple
    idle: dict

    def of(self, kind):
        """Return the events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]


def night(tmp_path, monkeypatch, name, islands=None, hours=3.0, **more):
    """Run a machine for some hours by program.md's defaults; agents think for a minute."""
    boards, shares = MACHINES[name]
    nvml = FakeNvml(boards)
    monkeypatch.setattr(swarm.executors.slices, "find_gpus", lambda _: find_gpus(None, nvml))
    monkeypatch.setattr(swarm.executors.slices, "usable_cores", lambda: [*range(32)])
    slices = discover(SlicesSection(shares=shares))
    branches = MemoryBranches()
    executor = Machine(branches, slow=SLOW if name == "mixed" else {})
    count = islands or len(slices)

    async def main():
        run = make_run(
            tmp_path,
            ledger=MemoryLedger(),
            branches=branches,
            executor=executor,
            agents={f"i{n}": LabAgent(think=60.0, step=0.04) for n in range(count)},
            islands=count,
            slices=slices,
            rungs=RUNGS,
            limits=RunLimits(minutes=60 * hours),
            ratchet=RatchetSection().policy(guards_of({})),
            **more,
        )
        await run_islands(run)
        return run.ledger.kept, asyncio.get_running_loop().time()

    events, seconds = run_virtual(main())
    idle = {slice_: 1 - executor.seconds_of[slice_] / seconds for slice_ in slices}
    return Night(slices, executor, tuple(events), idle)


@pytest.mark.parametrize("name", MACHINES)
def test_every_slice_measures_all_night(tmp_path, monkeypatch, name):
    """None idles for more than 3 % of three hours, or has two trials at a time."""
    run = night(tmp_path, monkeypatch, name)
    assert {*run.executor.seconds_of} == {*run.slices}
    assert max(run.idle.values()) < 0.03


def test_islands_take_turns_on_a_gpu_where_there_are_more_of_them(tmp_path, monkeypatch):
    """Three islands leave one GPU no more idle than one does."""
    run = night(tmp_path, monkeypatch, "one", islands=3)
    assert max(run.idle.values()) < 0.03
    assert {event.island for event in run.of(ev.TrialStarted)} == {"i0", "i1", "i2"}


def test_a_slower_gpu_decides_nothing(tmp_path, monkeypatch):
    """Where devices differ by 30 times the noise, every slice keeps changes, and they are better.

    So GPUs of unlike models may be in one run: gains are those of pairs on one slice.
    """
    run = night(tmp_path, monkeypatch, "mixed", hours=8.0)
    kept = [e for e in run.of(ev.VerdictReached) if e.verdict == "keep" and not e.null]
    branches = run.executor.branches
    gains = [value(branches, event.commit) - value(branches, event.parent) for event in kept]
    assert {event.island for event in kept} == {f"i{n}" for n in range(len(run.slices))}
    assert min(gains) > 0
    places = defaultdict(set)
    for trial in run.of(ev.TrialStarted):
        places[trial.experiment].add(trial.slice)
    assert {len(places[event.experiment]) for event in kept} == {1}


@pytest.mark.parametrize("name", ["two in halves", "mixed"])
def test_a_promotion_measures_a_pair_on_one_slice(tmp_path, monkeypatch, name):
    """At the larger depth, on several slices; each is a whole GPU, or in a run of shares a share.

    A share never lends its neighbour's half: scores of a half and of a whole do not compare.
    """
    run = night(tmp_path, monkeypatch, name, hours=6.0, stacking=StackPolicy(every=2))
    deep = [trial for trial in run.executor.trials if trial.rung.depth == 12]
    places = defaultdict(set)
    for trial in deep:
        places[trial.seed].add(trial.slice)
    assert len({trial.slice for trial in deep}) > 1
    assert {len(slices) for slices in places.values()} == {1}
    assert {trial.slice.share for trial in deep} == {1 / MACHINES[name][1]}
    assert run.of(ev.PromotionEnded)
    assert max(run.idle.values()) < 0.03
