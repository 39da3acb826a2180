"""`swarm ablation`: tells what each change of a stack is worth in place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import click
from rich.table import Table
from rich.text import Text

from analysis.questions.ablation import Ablation
from analysis.run import RecordedRun
from analysis.untrusted_text import first_line
from swarm.cli.console import json_option, run_option, to_json, wide_console
from swarm.project.runs import locate

_SHOWN_CHANCE = 0.05
"""Interactions less probable than this are not shown."""


@click.command()
@click.argument("target", required=False, default="", metavar="[COMMIT|consensus]")
@run_option
@json_option
def ablation(target: str, name: str | None, *, as_json: bool) -> None:
    """Show what each change of a stack, a head or the consensus is worth in place.

    Without COMMIT: the consensus, or the best head where there is none. Worths come from the trials
    of stack checks; where none tried the changes together, they are the gains that the changes were
    kept for, and are marked estimated. Runs no trials: `swarm stack` does.
    """
    with RecordedRun(locate(name).path) as run:
        found = run.ablation(target)
        names = {
            data["experiment"]: data["hypothesis"]
            for _, data in run.graph.nodes(data=True)
            if "experiment" in data
        }
        metric = run.opened["metric"]
    if as_json:
        click.echo(to_json(asdict(found)))
        return
    console = wide_console()
    console.print(_grid(found, names, metric))
    for line in _lines(found):
        console.print(Text(line), soft_wrap=True)


def _grid(found: Ablation, names: dict[int, str], metric: str) -> Table:
    title = f"{found.commit[:10]}: {found.whole.format()} {metric} over its base"
    grid = Table(title=Text(title), title_justify="left", box=None, pad_edge=False)
    for heading in ("", "loss without it", "kept for", "share", "lines", "basis"):
        grid.add_column(heading, justify="right", no_wrap=True)
    grid.add_column("change")
    for part in found.parts:
        takes = "".join(f" (takes #{number} along)" for number in part.takes)
        row = (
            f"#{part.experiment}",
            part.worth.format(),
            part.claimed.format(),
            f"{part.shapley:+.4g}",
            f"{part.lines:+d}",
            part.basis,
            first_line(names.get(part.experiment, "")) + takes,
        )
        grid.add_row(*map(Text, row), style="dim" if part.droppable else "")
    return grid


def _lines(found: Ablation) -> Iterator[str]:
    for pair in found.interactions:
        if pair.chance >= _SHOWN_CHANCE:
            yield (
                f"#{pair.one} and #{pair.other} interact with probability {pair.chance:.0%}:"
                f" {pair.worth.format()} together beyond the sum"
            )
    droppable = [f"#{part.experiment}" for part in found.parts if part.droppable]
    if droppable:
        yield f"could be dropped at no loss: {', '.join(droppable)}"
    if not found.check:
        yield "no stack check tried these changes together: `swarm stack` measures them"
