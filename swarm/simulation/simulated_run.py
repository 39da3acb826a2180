"""One run of the real coordinator on virtual time, in a world whose truth is known."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.contract import Rung, SetupError, Slice
from islands import events as ev
from islands.genome.admission import AdmissionLimits
from islands.migration import NO_MIGRATION, Migration
from islands.ratchet.policy import RatchetPolicy
from islands.stacking.state import NEVER, StackPolicy
from islands.state.run_state import State
from swarm.coordinator.launch_plan import IslandPlan, Launch, RunLimits
from swarm.coordinator.run import Run, inline
from swarm.coordinator.task_tree import run_islands
from swarm.project.runs import RunFolder
from swarm.simulation.in_memory import (
    GENOME,
    HARNESS,
    MemoryAgent,
    MemoryBranches,
    MemoryExecutor,
    MemoryLedger,
)
from swarm.simulation.virtual_time import run_virtual
from swarm.simulation.world import Conditions, World


@dataclass(frozen=True, slots=True)
class RunPlan:
    """How a run is carried out.

    - `ratchet`: how candidates are judged
    - `islands`: islands of a run, with a slice each
    - `trials`: trials in all
    - `baseline_seeds`: seeds that the base is scored on first
    - `trial_s`: seconds that a trial takes
    - `think_s`: seconds that an agent takes to answer, on average
    - `runs`: independent runs that share the trials
    """

    ratchet: RatchetPolicy
    islands: int = 8
    trials: int = 100
    baseline_seeds: int = 4
    trial_s: float = 300.0
    think_s: float = 30.0
    migration: Migration = NO_MIGRATION
    runs: int = 1
    stacking: StackPolicy = NEVER


@dataclass(frozen=True, slots=True)
class SimulatedRun:
    """A finished run: its state and events, and the truth to check them against."""

    state: State
    events: tuple[ev.Event, ...]
    branches: MemoryBranches
    world: World

    def gain(self, old: str, new: str) -> float:
        """Return what commit `new` is truly worth beyond `old`."""
        return self.world.gain(self.branches.changes(old), self.branches.changes(new))


def simulate_run(conditions: Conditions, plan: RunPlan, seed: int) -> SimulatedRun:
    """Simulate one run; `seed` fixes the world and the run, so the ledger is always the same."""
    world, branches, ledger = World(conditions, seed), MemoryBranches(), MemoryLedger()

    async def main() -> State:
        run = Run(
            launch=_launch(plan, branches.base, seed),
            ledger=ledger,
            branches=branches,
            executor=MemoryExecutor(world, branches, plan.trial_s, plan.trials),
            agents={name: MemoryAgent(plan.think_s) for name in _names(plan)},
            offload=inline,
            now=asyncio.get_running_loop().time,
        )
        with suppress(SetupError):  # no slice measures steadily any more: the night ends early
            await run_islands(run)
        return run.state

    return SimulatedRun(run_virtual(main()), tuple(ledger.recorded), branches, world)


def _names(plan: RunPlan) -> list[str]:
    return [f"i{number}" for number in range(plan.islands)]


def _launch(plan: RunPlan, base: str, seed: int) -> Launch:
    opening = ev.RunOpened(
        run="simulated",
        base=base,
        target="main",
        task="laboratory",
        data="none",
        metric="score",
        direction="minimize",
        genome=(GENOME,),
        rungs=(Rung(1, plan.trial_s),),
        harness=HARNESS,
        seed=seed,
        baseline_seeds=plan.baseline_seeds,
    )
    slices = [Slice(f"s{number}", "cpu") for number in range(plan.islands)]
    return Launch(
        opening=opening,
        islands=tuple(map(IslandPlan, _names(plan), [MemoryAgent.name] * plan.islands, slices)),
        ratchet=plan.ratchet,
        admission=AdmissionLimits(),
        limits=RunLimits(trials=plan.trials),
        prose="Lower the score.",
        entry=GENOME,
        folder=RunFolder(Path(os.devnull), "simulated"),  # nothing can be written below it
        migration=plan.migration,
        stacking=plan.stacking,
    )
