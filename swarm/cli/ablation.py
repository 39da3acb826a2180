"""`swarm ablation`: tells what each change of a stack is worth in place."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click
from rich.text import Text

from analysis.database.queries import answer
from analysis.grid import Grid
from analysis.questions.ablation import Ablation, PartWorth
from analysis.run import RecordedRun
from analysis.untrusted_text import first_line
from harness.contract import SandboxKind
from swarm.cli.console import (
    json_option,
    progress_teller,
    require_partner,
    run_option,
    sandbox_option,
    to_json,
    wide_console,
)
from swarm.project.runs import RunFolder, locate

if TYPE_CHECKING:
    from swarm.results.measured_ablation import MeasuredAblation

_SEEDS = 5

_SHOWN_CHANCE = 0.05
"""Interactions less probable than this are not shown."""


@click.command()
@click.argument("target", required=False, default="", metavar="[COMMIT|consensus]")
@click.option(
    "--measure",
    is_flag=True,
    help="Buy the missing trials: each change left out in turn, in pairs on fresh seeds.",
)
@click.option(
    "--seeds",
    metavar="N",
    type=click.IntRange(2, 1000),
    help=f"With --measure: pairs for each change. [default: {_SEEDS}]",
)
@run_option
@sandbox_option
@json_option
def ablation(
    target: str,
    seeds: int | None,
    name: str | None,
    sandbox: SandboxKind,
    *,
    measure: bool,
    as_json: bool,
) -> None:
    """Show what each change of a stack, a head or the consensus is worth in place.

    Without COMMIT: the consensus, or the best head where there is none. Worths come from the trials
    of stack checks; where none tried the changes together, they are the gains that the changes were
    kept for, and are marked estimated. Runs no trials without --measure, which records nothing.
    """
    require_partner("--measure", "seeds", "sandbox", given=measure)
    folder, measured = locate(name), None
    if measure:
        measured = _measured(folder, target, seeds or _SEEDS, sandbox, quiet=as_json)
    with RecordedRun(folder.path) as run:
        found = measured.found if measured else run.ablation(target)
        names = _hypotheses(run, [part.experiment for part in found.parts])
        metric = run.opened["metric"]
    if as_json:
        click.echo(to_json(asdict(measured or found)))
        return
    console = wide_console()
    console.print(_grid(found, names, metric))
    for line in (*_lines(found), *(_failures(measured) if measured else ())):
        console.print(Text(line), soft_wrap=True)


def _hypotheses(run: RecordedRun, numbers: list[int]) -> dict[int, str]:
    sql = "SELECT experiment, hypothesis FROM nodes WHERE experiment IN (SELECT unnest(?))"
    return dict(answer(run.connection, sql, values=[numbers]).rows)


def _measured(
    folder: RunFolder, target: str, seeds: int, sandbox: SandboxKind, *, quiet: bool
) -> MeasuredAblation:
    # a quarter of a second, for --measure only
    from swarm.results.measured_ablation import measure_ablation  # noqa: PLC0415

    tell = progress_teller(quiet=quiet)
    return asyncio.run(measure_ablation(folder, target, seeds, tell, sandbox=sandbox))


def _failures(measured: MeasuredAblation) -> Iterator[str]:
    for number, reason in measured.failures.items():
        yield f"#{number}: not measured: without it, {first_line(reason)}"


def _grid(found: Ablation, names: dict[int, str], metric: str) -> Grid:
    title = f"{found.commit[:10]}: gain {found.whole.format()} in {metric} over its base"
    grid = Grid(title)
    for heading in ("", "loss without it", "95 %", "kept for", "share", "lines", "basis"):
        grid.add_column(heading, right=True)
    grid.add_column("change", fit="fold")
    for part in found.parts:
        takes = "".join(f" (takes #{number} along)" for number in part.takes)
        row = (
            f"#{part.experiment}",
            part.worth.format(),
            _interval(part),
            part.claimed.format(),
            f"{part.shapley:+.4g}",
            f"{part.lines:+d}",
            part.basis,
            first_line(names.get(part.experiment, "")) + takes,
        )
        grid.add_row(*row, style="dim" if part.droppable else "")
    return grid


def _interval(part: PartWorth) -> str:
    """Return the 95 % interval of a worth; of fresh pairs by Student's t."""
    from scipy.special import stdtrit  # noqa: PLC0415 - a quarter of a second

    worth = part.worth
    if not 0 < worth.noise < math.inf:
        return ""
    z = float(stdtrit(worth.pairs - 1, 0.975)) if part.basis == "fresh" else 1.96
    ends = (replace(worth, mean=worth.mean + side * z * worth.noise) for side in (-1, 1))
    low, high = (end.format().partition(" ")[0] for end in ends)
    return f"[{low}, {high}]"


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
    if not found.check and any(part.basis == "estimated" for part in found.parts):
        yield (
            "no stack check tried these changes together: `swarm stack` or `swarm ablation"
            " --measure` measures them"
        )
