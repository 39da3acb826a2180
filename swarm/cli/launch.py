"""`swarm launch`: starts a run, or resumes one."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import click
from rich.console import Console

from analysis.database.refresh import Refresher, refresh
from harness.contract import SandboxKind, SetupError
from harness.cpus import usable_cores
from islands import events as ev
from islands.state.run_state import State
from swarm.agents.base import Priced
from swarm.check.report import first_check
from swarm.cli.check import show
from swarm.cli.console import (
    FiniteFloat,
    FiniteRange,
    address_option,
    require_partner,
    run_option,
    sandbox_option,
    wide_console,
)
from swarm.cli.event_log import describe
from swarm.cli.live import LiveView, cost_of_disturbance, table
from swarm.cli.machine_report import machine_lines
from swarm.cli.next_step import Results, next_step
from swarm.coordinator.announcer import Announcer, topic_of
from swarm.coordinator.assemble import assemble
from swarm.coordinator.launch_options import LaunchOptions, require_launchable, resumes
from swarm.coordinator.run import Run
from swarm.coordinator.task_tree import run_islands
from swarm.executors.backends import BackendKind
from swarm.executors.core_leases import lease_cores
from swarm.executors.machine_limits import CpuLoad
from swarm.project.runs import remove_empty_home, repository
from swarm.project.schema.fields import MAX_COUNT

EXIT_INTERRUPTED = 130
"""The exit code that shells give to a process stopped by Ctrl-C."""


@click.command()
@run_option
@click.option("--new", is_flag=True, help="Start a new run instead of resuming one.")
@click.option(
    "--minutes",
    metavar="MINUTES",
    type=FiniteRange(min=0, min_open=True, max=MAX_COUNT),
    help="Stop after so many minutes of this launch.",
)
@click.option(
    "--trials",
    metavar="TRIALS",
    type=click.IntRange(min=1),
    help="Stop after so many trials of this launch.",
)
@click.option(
    "--max-usd",
    metavar="USD",
    type=FiniteRange(min=0, max=MAX_COUNT),
    help="Spend at most this much on language models in this run.",
)
@click.option(
    "--max-tokens",
    metavar="TOKENS",
    type=click.IntRange(min=1),
    help="Use at most this many tokens of language models in this run.",
)
@click.option(
    "--stop-at",
    metavar="SCORE",
    type=FiniteFloat(),
    help="Stop when an island's head has this mean score.",
)
@click.option(
    "--stall",
    metavar="N",
    type=click.IntRange(min=1),
    help="Stop after N trials without a claim.",
)
@click.option("--islands", metavar="N", type=click.IntRange(1, 64), help="Number of islands.")
@click.option(
    "--agent",
    metavar="NAME",
    default="",
    help="The agent of every island: `mutator` or a name under `agents` in program.md.",
)
@sandbox_option
@click.option(
    "--executor",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Run trials on this machine or on a Ray cluster.",
)
@address_option
@click.option("--json", "as_json", is_flag=True, help="Print each event as a line of JSON.")
def launch(
    name: str | None,
    new: bool,
    minutes: float | None,
    trials: int | None,
    max_usd: float | None,
    max_tokens: int | None,
    stop_at: float | None,
    stall: int | None,
    islands: int | None,
    agent: str,
    sandbox: SandboxKind,
    executor: BackendKind,
    address: str,
    as_json: bool,
) -> int:
    """Start a run of this repository's program.md, or resume one.

    Options override program.md, whose minutes are those of each launch, and whose trials, dollars
    and tokens are those of the whole run. Ctrl-C stops the run; launch again to resume it. Nothing
    is lost if the process is killed.
    """
    require_partner("--executor ray", "address", given=executor == "ray")
    if name == "":
        raise SetupError("--run: give the run a name, or leave the option out")
    options = LaunchOptions(
        name or "",
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
        stop_at=stop_at,
        stall=stall,
    )
    repo = repository()
    try:
        return asyncio.run(_launch(repo, options, as_json=as_json))
    except SetupError:
        remove_empty_home(repo)
        raise


async def _launch(repo: Path, options: LaunchOptions, *, as_json: bool) -> int:
    console = wide_console(stderr=as_json)
    view = LiveView(console, as_json=as_json)
    if console.is_terminal:  # what follows takes seconds
        console.print("checking program.md, this machine and its sandbox", style="dim")
    if not resumes(repo, options):
        require_launchable(repo, options)
        if options.executor == "local":
            await _check_base(repo, options.sandbox, console)
    load = None if options.executor == "ray" else CpuLoad.look(usable_cores())
    async with assemble(repo, options, view) as run:
        view.limits = run.launch.limits
        for line in (*run.launch.notices, *_unconfined_notice(options.sandbox)):
            console.print(line, soft_wrap=True)
        slices = {island.slice for island in run.launch.islands}
        cores = {core for slice_ in slices for core in slice_.cores}
        priced = {agent.name: agent for agent in run.agents.values() if isinstance(agent, Priced)}
        for agent in priced.values():
            console.print(agent.price_line(), soft_wrap=True)
        with lease_cores(cores if load else ()) as taken:
            for line in machine_lines(run.launch, load, taken) if load else ():
                console.print(line, soft_wrap=True)
            interrupted = await _run_to_end(run, view)
    refresh(run.launch.folder.path)
    console.print(table(run.state))
    for line in cost_of_disturbance(run.state):
        console.print(line, soft_wrap=True)
    if interrupted:
        console.print("stopped; `swarm launch` resumes the run")
        return EXIT_INTERRUPTED
    console.print(f"next: {next_step(Results.of_state(run.state))}")
    return 0


async def _check_base(repo: Path, sandbox: SandboxKind, console: Console) -> None:
    """Try a base before its first run. Raises SetupError at an error."""
    found = await first_check(repo, sandbox)
    errors = [finding for finding in found if finding.severity == "error"]
    if errors:
        raise SetupError(
            "\n".join(f"{each.text}: {each.fix} (`swarm check` says more)" for each in errors)
        )
    if found:
        console.print("checked the base before its first run (`swarm check` says more):")
        show([finding for finding in found if finding.subject in _TOLD], console)


_TOLD = ("run", "score", "direction", "time", "genome", "evidence")
"""Subjects of the quick check that a launch tells."""


def handled_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that stop a run; SIGHUP only where its starter (nohup) lets it."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return signal.SIGINT, signal.SIGTERM
    return signal.SIGINT, signal.SIGTERM, signal.SIGHUP


async def _run_to_end(run: Run, view: LiveView) -> bool:
    """Run the islands, the live view and the refreshes; return whether a signal interrupted it."""
    announcer = _announcing(run, view)
    task = asyncio.ensure_future(run_islands(run))
    for number in handled_signals():
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    background = [
        asyncio.create_task(view.show()),
        asyncio.create_task(_refresh_database(run)),
        asyncio.create_task(announcer.run()),
    ]
    try:
        await task
    except asyncio.CancelledError:
        return True
    finally:
        await announcer.finish()
        for other in background:
            other.cancel()
        await asyncio.gather(*background, return_exceptions=True)
    return False


def _unconfined_notice(sandbox: SandboxKind) -> tuple[str, ...]:
    if sandbox != "none":
        return ()
    return ("--sandbox none: candidates run UNCONFINED, and the scores are marked so",)


def _announcing(run: Run, view: LiveView) -> Announcer:
    """Return what announces the run's news, which it is told of from now on."""
    announcer = Announcer(run.launch.notify, run.launch.folder.repo, view.say)
    before = run.watch

    def watch(event: ev.Event, state: State) -> None:
        before(event, state)
        topic = topic_of(event, state)
        if topic is not None:
            announcer.announce(
                {
                    "topic": topic,
                    "text": describe(event, state),
                    "run": state.run.run,
                    "repository": str(run.launch.folder.repo),
                    "event": json.loads(ev.encode(event)),
                }
            )

    run.watch = watch
    return announcer


async def _refresh_database(run: Run) -> None:
    """Keep lineage.duckdb up to date for programs that open the file themselves."""
    refresher = Refresher()
    while True:
        await run.changes.wait()
        if refresher.due(run.state.events):
            await asyncio.to_thread(refresh, run.launch.folder.path)
