"""`swarm cost`: tells what a run cost, and what each agent earned."""

from __future__ import annotations

from dataclasses import asdict

import click

from analysis.grid import Grid
from analysis.questions.arms import ArmsReturn
from analysis.questions.calls import ModelCalls
from analysis.questions.cost import AgentCost
from analysis.run import RecordedRun
from islands.records import NULL
from islands.state.arms import ProposalArm
from swarm.cli.console import json_option, run_option, to_json, wide_console
from swarm.project.runs import locate

_NAMES = {NULL: "null proposals (control)", "run": "the run itself"}


@click.command()
@run_option
@json_option
@click.option("--arms", is_flag=True, help="Show each agent, temperament and island apart.")
def cost(name: str | None, *, as_json: bool, arms: bool) -> None:
    """Show dollars and slice hours for each unit of gain, by agent, beside the run's controls.

    Null proposals change nothing: what is kept of them is kept by luck. The run itself: baseline,
    sentinels, stack checks and promotions. A second table has the calls to models; what calls took
    that reported no tokens is counted at its most.

    With --arms, show what each arm (agent, temperament, island) earned for its cost, and whether
    the swarm beat plain sampling (iid) and each agent alone at equal cost.
    """
    with RecordedRun(locate(name).path) as run:
        agents, calls, metric = run.cost(), run.calls(), run.opened["metric"]
        apart = run.arms() if arms else None
    if arms and apart is None:
        click.echo("null" if as_json else "one agent with one temperament: no arms to compare")
    elif apart is not None and as_json:
        click.echo(to_json(asdict(apart)))
    elif apart is not None:
        _show_arms(apart, metric)
    elif as_json:
        click.echo(to_json([_facts(agent, calls) for agent in agents]))
    else:
        console = wide_console()
        console.print(_grid(agents, metric))
        if calls:
            console.print()
            console.print(_calls(calls))


def _facts(agent: AgentCost, calls: tuple[ModelCalls, ...]) -> dict[str, object]:
    per_gain = {"usd_per_gain": agent.usd_per_gain, "hours_per_gain": agent.hours_per_gain}
    own = [asdict(one) for one in calls if one.agent == agent.agent]
    return asdict(agent) | per_gain | {"calls": own}


def _grid(agents: tuple[AgentCost, ...], metric: str) -> Grid:
    grid = Grid()
    grid.add_column("agent")
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
        grid.add_column(heading, right=True)
    for agent in agents:
        row = (
            _NAMES.get(agent.agent, agent.agent),
            str(agent.experiments),
            str(agent.kept),
            str(agent.trials),
            f"{agent.slice_hours:.3g}",
            "unmetered" if agent.unmetered else f"{agent.usd:.2f}",
            agent.gain.format() if agent.kept else "-",
            _ratio(agent.hours_per_gain),
            _ratio(agent.usd_per_gain if agent.usd else None),
        )
        grid.add_row(*row)
    return grid


def _calls(calls: tuple[ModelCalls, ...]) -> Grid:
    grid = Grid()
    grid.add_column("agent")
    grid.add_column("model")
    headings = ("calls", "failed", "tokens in", "cached", "out", "not told", "$", "s a call")
    for heading in headings:
        grid.add_column(heading, right=True)
    for one in calls:
        row = (
            one.agent,
            one.model,
            str(one.calls),
            str(one.failed),
            f"{one.tokens_in:,}",
            f"{100 * one.cached:.0f} %",
            f"{one.tokens_out:,}",
            f"{one.tokens_untold:,}",
            "price unknown" if one.usd is None else f"{one.usd:.4f}",
            "-" if one.seconds is None else f"{one.seconds:.2f}",
        )
        grid.add_row(*row)
    return grid


def _show_arms(apart: ArmsReturn, metric: str) -> None:
    grid = Grid()
    headings = ("agent", "temperament", "island", "asked", "kept", "cost $", "gain", "gain per $")
    for n, heading in enumerate(headings):
        grid.add_column(heading, right=n >= len(ProposalArm._fields))
    for arm in (*apart.arms, apart.swarm):
        per_usd = arm.per_usd
        row = (
            *(arm.agent, arm.temperament, arm.island, str(arm.asked), str(arm.kept)),
            *(f"{arm.cost:.3g}", f"{arm.gain:.4g}"),
            f"{per_usd.value:.3g} [{per_usd.low:.3g}, {per_usd.high:.3g}]" if per_usd else "-",
        )
        grid.add_row(*row)
    console = wide_console()
    console.print(grid)
    click.echo(f"\nan hour of a slice counts as ${apart.rate:g}; beyond one agent at equal cost:")
    for one in apart.advantages:
        gain = one.gain
        verdict = "won" if gain.low > 0 else "lost" if gain.high < 0 else "not told apart"
        figures = f"{gain.value:+.4g} [{gain.low:+.4g}, {gain.high:+.4g}] {metric}"
        click.echo(f"  {one.agent}: {figures}, {verdict}")


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
