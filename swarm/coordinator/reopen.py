"""Opens a stopped run for run-level work alone, on its islands' slices."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from harness.contract import SandboxKind
from islands import events as ev
from islands.scheduling.run_steps import RunStep
from islands.state.run_state import State
from swarm.coordinator.assemble import LaunchOptions, assemble
from swarm.coordinator.run import Run
from swarm.coordinator.task_tree import run_steps_only
from swarm.project.runs import RunFolder, require_stopped


async def reopen(
    folder: RunFolder,
    sandbox: SandboxKind,
    wanted: Callable[[State, str], RunStep | None],
    begin: Callable[[Run], Awaitable[None]],
    watch: Callable[[ev.Event, State], None],
) -> State:
    """Go on with a stopped run for what is `wanted` after `begin`; return its state then.

    What is asked for by hand is not held to program.md's limits. No agent is made: no key is
    needed. Raises SetupError and HarnessError as a launch does.
    """
    require_stopped(folder)
    options = LaunchOptions(run=folder.name, agent="mutator", sandbox=sandbox, unlimited=True)
    async with assemble(folder.repo, options, watch) as run:
        await run_steps_only(run, wanted, lambda: begin(run))
        return run.state
