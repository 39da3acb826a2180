"""Run-level steps that a command runs on a stopped run, shown as a launch shows them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from analysis.database.refresh import refresh
from harness.contract import SandboxKind
from islands.state.run_state import State
from swarm.cli.console import wide_console
from swarm.cli.live import LiveView
from swarm.coordinator.island_loop import NextRunStep
from swarm.coordinator.reopen import reopen
from swarm.coordinator.run import Run
from swarm.project.runs import RunFolder


def run_steps(
    folder: RunFolder,
    sandbox: SandboxKind,
    next_of: NextRunStep,
    begin: Callable[[Run], Awaitable[None]],
    *,
    as_json: bool,
) -> State:
    """Run the steps that follow from `begin`, bring the database up to date, return the state.

    Progress goes to standard error where standard output is to hold JSON. Raises what
    `swarm.coordinator.reopen` raises.
    """
    view = LiveView(wide_console(stderr=as_json))
    state = asyncio.run(reopen(folder, sandbox, next_of, begin, view))
    refresh(folder.path)
    return state
