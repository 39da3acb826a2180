"""`swarm cost`: tells what a run cost, and what each agent earned."""

from __future__ import annotations

from dataclasses import asdict

import click
from rich.table import Table
from rich.text import Text

from analysis.questions.cost import AgentCost
from analysis.run import RecordedRun
from islands.records import NULL
from swarm.cli.console import json_option, run_option, to_json, wide_console
from swarm.project.runs import locate

_NAMES = {NULL: "null proposals (control)", "run": "the run itself"}


@click.command()
@run_option
@json_option
def cost(name: str | None, *, as_json: bool) -> None:
    """Show dollars and slice hours for each unit of gain, by agent, beside the run's controls.

    Null proposals change nothing: what is kept of them is kept by luck. The run itself: baseline,
    sentinels, stack checks and promotions.
    """
    with RecordedRun(locate(name).path) as run:
        agents, metric = run.cost(), run.opened["metric"]
    if as_json:
        rows = ((agent, agent.usd_per_gain, agent.hours_per_gain) for agent in agents)
        click.echo(
            to_json([asdict(a) | {"usd_per_gain": u, "hours_per_gain": h} for a, u, h in rows])
        )
    else:
        wide_console().print(_grid(agents, metric))


def _grid(agents: tuple[AgentCost, ...], metric: str) -> Table:
    grid = Table(box=None, pad_edge=False)
    grid.add_column("agent", no_wrap=True)
    headings = (
        "tried",
        "kept",
        "trials",
        "slice hours",
        "$",
        "gain",
        f"hours per {metric}",
        "$ per",
    )
    for heading in headings:
        grid.add_column(Text(heading), justify="right")
    for agent in agents:
        row = (
            _NAMES.get(agent.agent, agent.agent),
            str(agent.experiments),
            str(agent.kept),
            str(agent.trials),
            f"{agent.slice_hours:.3g}",
            f"{agent.usd:.2f}",
            agent.gain.format() if agent.kept else "-",
            _ratio(agent.hours_per_gain),
            _ratio(agent.usd_per_gain if agent.usd else None),
        )
        grid.add_row(*map(Text, row))
    return grid


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
