"""`swarm simulate`: simulates runs and stack checks with known truth, to compare rules."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.progress import Progress

from harness.contract import SetupError
from swarm.cli.console import refused_option, to_json, wide_console
from swarm.cli.disturbance_options import disturbance_options, taken_from
from swarm.cli.study_options import RunStudyOptions, run_options, study_options
from swarm.simulation.report import as_records, table
from swarm.simulation.stack_study import all_cases, study_stacks
from swarm.simulation.stack_study import table as stack_table
from swarm.simulation.study import CellSummary, study

PICTURE_SUFFIXES = (".png", ".svg", ".pdf")
"""Suffixes of what --plot can write."""


@click.group()
@refused_option("--stacks", "the command `swarm simulate stacks`", is_flag=True)
def simulate() -> None:
    """Simulate runs or stack checks on virtual time, where every true effect is known.

    One seed gives the same simulations on every machine. Gains are above zero where they are
    better.
    """


@simulate.command()
@run_options
@disturbance_options
@study_options
@click.option(
    "--plot",
    "picture",
    type=click.Path(path_type=Path),
    help="Draw to FILE.png, FILE.svg or FILE.pdf.",
)
def nights(
    *,
    repeats: int,
    seed: int,
    workers: int | None,
    as_json: bool,
    picture: Path | None,
    **options: Any,  # noqa: ANN401 - the record names and types them
) -> None:
    """Simulate whole runs and compare a rule's keeps and claims with their true effects.

    Prints a row for each combination of the options that may be given more than once: --mixture,
    --nil-share, --sigma, --trials, --rule, --fdr, --migration and --migrate-every. The mixture
    `published` is fitted to a published log of autoresearch, in `harsh` most proposals harm, in
    `tuned` most do nothing, in `tiny` gains are many and small, in `null` none has an effect. To
    plan a run of your own, give --noise its spread between seeds.

    Gains are in units of the score. A keep or a claim is false where its true effect is zero or
    worse.
    """
    disturbances = taken_from(options)
    cells = RunStudyOptions(**options, disturbances=disturbances).cells()
    _check_picture(picture)
    with _progress() as progress:
        task = progress.add_task("runs", total=len(cells) * repeats)
        summaries = study(cells, repeats, seed, _processes(workers), lambda: progress.advance(task))
    if picture is not None:
        _draw(summaries, picture)
    if as_json:
        click.echo(to_json(as_records(summaries)))
    else:
        wide_console().print(table(summaries, repeats))


@simulate.command()
@study_options
def stacks(*, repeats: int, seed: int, workers: int | None, as_json: bool) -> None:
    """Simulate stack checks: how often the verdict is right, and interacting changes are found.

    Effects are in standard deviations of one paired difference.
    """
    cases = all_cases()
    with _progress() as progress:
        task = progress.add_task("stacks", total=len(cases) * repeats)
        rows = study_stacks(
            cases, repeats, seed, _processes(workers), lambda: progress.advance(task)
        )
    if as_json:
        click.echo(to_json([asdict(row) for row in rows]))
    else:
        wide_console().print(stack_table(rows))


def _progress() -> Progress:
    return Progress(console=wide_console(stderr=True), transient=True)


def _processes(workers: int | None) -> int:
    return workers or os.cpu_count() or 1


def _check_picture(picture: Path | None) -> None:
    """Refuse a --plot that could not be written, before hours of simulation."""
    if picture is None:
        return
    if picture.suffix.lower() not in PICTURE_SUFFIXES:
        raise SetupError(
            f"--plot {picture}: name a file that ends in {', '.join(PICTURE_SUFFIXES)}"
        )
    if not os.access(picture.absolute().parent, os.W_OK):
        raise SetupError(f"--plot {picture}: its folder cannot be written; name another")


def _draw(summaries: Sequence[CellSummary], picture: Path) -> None:
    from swarm.simulation.plot import plot  # noqa: PLC0415 - matplotlib takes a second to import

    plot(summaries, picture)
