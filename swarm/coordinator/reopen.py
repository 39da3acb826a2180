"""Runs run-level steps alone on a stopped run, on its islands' slices."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from harness.contract import SandboxKind
from islands import events as ev
from islands.state.run_state import State
from swarm.coordinator.assemble import assemble
from swarm.coordinator.island_loop import NextRunStep
from swarm.coordinator.launch_options import LaunchOptions
from swarm.coordinator.run import Run
from swarm.coordinator.task_tree import run_steps_only
from swarm.project.runs import RunFolder, require_stopped


def not_finished(state: State, what: str, command: str) -> str:
    """Return the line for steps that stopped before their end.

    `what` says what is not done, and the swarm command `command` continues with it.
    """
    end = state.stopped
    why = f" ({end.reason})" if end is not None and end.limit is not None else ""
    return f"{what}{why}: `swarm {command}` continues"


def given_up(what: str, command: str) -> str:
    """Return the line for a check or promotion that lost a change.

    `what` names it, and `command` says which command does what, such as "`swarm stack` checks".
    """
    return (
        f"{what} was given up, since a change of it was dropped or quarantined: {command} what is"
        " left"
    )


async def reopen(
    folder: RunFolder,
    sandbox: SandboxKind,
    next_of: NextRunStep,
    begin: Callable[[Run], Awaitable[None]],
    watch: Callable[[ev.Event, State], None],
) -> State:
    """Call `begin` on a stopped run, execute the steps of `next_of`, return the state after them.

    The limits of program.md do not apply to what a person asks for by hand. No agent is made, so no
    key is needed. Raises SetupError and HarnessError as a launch does.
    """
    require_stopped(folder)
    options = LaunchOptions(run=folder.name, agent="mutator", sandbox=sandbox, unlimited=True)
    async with assemble(folder.repo, options, watch) as run:
        await run_steps_only(run, next_of, lambda: begin(run))
        return run.state
