"""Opens a stopped run for run-level work alone, on its islands' slices."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from analysis.ledger import NAME as LEDGER
from analysis.ledger import read_events, writer
from harness.contract import SetupError
from islands import events as ev
from islands.scheduling.run_steps import RunStep
from islands.state.run_state import State
from swarm.coordinator.assemble import LaunchOptions, assemble
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.run import Run
from swarm.coordinator.task_tree import run_steps_only
from swarm.project.runs import RunFolder


def folded(folder: RunFolder) -> State:
    """Return the state of a run as its ledger has it."""
    state = State()
    for _, event in read_events(folder.folder / LEDGER):
        state.apply(event)
    return state


def stopped(folder: RunFolder) -> None:
    """Raise SetupError where a coordinator works on the run."""
    running = writer(folder.folder)
    if running is not None:
        raise SetupError(
            f"run {folder.name} is being worked on by process {running}: stop it first (Ctrl-C);"
            " `swarm launch` goes on with it afterwards"
        )


async def reopen(
    folder: RunFolder,
    tier: int,
    wanted: Callable[[State, str], RunStep | None],
    begin: Callable[[Run], Awaitable[None]],
    watch: Callable[[ev.Event, State], None],
) -> State:
    """Go on with a stopped run for what is `wanted` after `begin`; return its state then.

    What is asked for by hand is not held to program.md's limits. No agent is made: no key is
    needed. Raises SetupError and HarnessError as a launch does.
    """
    stopped(folder)
    options = LaunchOptions(run=folder.name, agent="mutator", tier=tier)
    async with assemble(folder.repo, options, watch) as run:
        run.launch = replace(run.launch, limits=RunLimits())
        await run_steps_only(run, wanted, lambda: begin(run))
        return run.state
