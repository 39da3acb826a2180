"""`swarm launch`: run a swarm, or go on with one that was stopped."""

from __future__ import annotations

import asyncio
import signal

import click
from rich.console import Console

from analysis.database.refresh import Refresher, refresh
from harness.contract import SandboxKind, SetupError
from islands.state.run_state import State
from swarm.cli.console import sandbox_option
from swarm.cli.live import LiveView, table
from swarm.coordinator.assemble import LaunchOptions, assemble
from swarm.coordinator.run import Run
from swarm.coordinator.task_tree import run_islands
from swarm.executors.backends import BackendKind
from swarm.project.runs import repository

INTERRUPTED = 130
"""The exit code that shells give to Ctrl-C."""


@click.command()
@click.option("--run", "name", default="", help="Name of the run; default: the latest one.")
@click.option("--new", is_flag=True, help="Begin a new run rather than go on with the latest.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Stop after that.")
@click.option("--trials", type=click.IntRange(min=1), help="Stop at so many trials in the run.")
@click.option("--max-usd", type=click.FloatRange(min=0), help="Never spend more on models.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Never ask models for more.")
@click.option("--islands", type=click.IntRange(1, 64), help="How many islands.")
@click.option("--agent", default="", help="Who proposes on every island: a name of program.md.")
@sandbox_option
@click.option("--executor", type=click.Choice(["local", "ray"]), default="local",
    help="Where trials run: here, or on the nodes of a Ray cluster.",
)  # fmt: skip
@click.option(
    "--address", default="auto", help="ray: the cluster's; default: the one on this machine."
)
@click.option("--json", "as_json", is_flag=True, help="Print every event as a line of JSON.")
def launch(
    name: str,
    new: bool,
    minutes: float | None,
    trials: int | None,
    max_usd: float | None,
    max_tokens: int | None,
    islands: int | None,
    agent: str,
    sandbox: SandboxKind,
    executor: BackendKind,
    address: str,
    as_json: bool,
) -> int:
    """Run a swarm on this repository's program.md, or go on with one that was stopped.

    Ctrl-C stops it in good order; launching again goes on where it stopped. What program.md
    limits, the options here override.
    """
    if executor == "local" and address != "auto":
        raise SetupError(f"--address {address}: only a Ray cluster has one; add --executor ray")
    options = LaunchOptions(
        name,
        new,
        minutes,
        trials,
        max_usd,
        max_tokens,
        islands,
        agent,
        sandbox,
        executor,
        address,
    )
    return asyncio.run(_launch(options, as_json=as_json))


async def _launch(options: LaunchOptions, *, as_json: bool) -> int:
    console = Console(stderr=as_json)
    watch = LiveView(console, as_json=as_json)
    async with assemble(repository(), options, watch) as run:
        watch.bounds = run.launch.limits
        stopped = await _stopped(run, watch)
    refresh(run.launch.folder.path)
    console.print(table(run.state))
    if stopped:
        console.print("stopped; `swarm launch` goes on from here")
        return INTERRUPTED
    console.print(f"next: {_next(run.state)}")
    return 0


def _next(state: State) -> str:
    if state.promotions.consensus is not None:
        return "`swarm merge --dry-run`, `swarm merge`"
    if any(island.kept for island in state.islands.values()):
        return "`swarm lineage`, `swarm promote`, then `swarm merge`"
    return "`swarm lineage`; `swarm launch` goes on"


async def _stopped(run: Run, watch: LiveView) -> bool:
    """Conduct the run beside its picture and its projection; return whether it was interrupted."""
    task = asyncio.ensure_future(run_islands(run))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    beside = [asyncio.create_task(watch.show()), asyncio.create_task(_project(run))]
    try:
        await task
    except asyncio.CancelledError:
        return True
    finally:
        for other in beside:
            other.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
    return False


async def _project(run: Run) -> None:
    """Keep lineage.duckdb near the ledger for those who open it without asking us."""
    refresher = Refresher()
    while True:
        await run.wait_changed()
        if refresher.due(run.state.events):
            await asyncio.to_thread(refresh, run.launch.folder.path)
