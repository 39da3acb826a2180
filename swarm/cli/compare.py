"""`swarm compare`: shows two runs beside each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict

import click

from analysis.grid import Grid
from analysis.questions.comparison import RunComparison, RunFigures
from analysis.run import RecordedRun
from swarm.cli.console import json_option, to_json, wide_console
from swarm.project.runs import locate

_Z = 1.96
"""Standard errors on each side of a 95 % interval."""


@click.command()
@click.argument("one", metavar="RUN")
@click.argument("other", metavar="RUN")
@json_option
def compare(one: str, other: str, *, as_json: bool) -> None:
    """Compare two runs of this repository: what each found and cost, and what both found.

    The difference is told only where the same harness scored both.
    """
    with (
        RecordedRun(locate(one).path) as first,
        RecordedRun(locate(other).path) as second,
    ):
        found = first.compare(second)
    if as_json:
        click.echo(to_json(asdict(found)))
        return
    wide_console().print(_grid(found))
    for line in _summary(found):
        click.echo(line)


_ROWS: tuple[tuple[str, Callable[[RunFigures], str]], ...] = (
    ("best head", lambda run: f"{run.head[:10]} of {run.island}"),
    ("its score", lambda run: "-" if run.score is None else f"{run.score:.6g}"),
    ("its gain", lambda run: run.gain.format() if run.changes else "-"),
    ("kept of experiments", lambda run: f"{run.kept} of {run.experiments}"),
    ("A/A tests kept", lambda run: f"{run.nulls_kept} of {run.nulls}"),
    ("trials", lambda run: str(run.trials)),
    ("slice hours", lambda run: f"{run.slice_hours:.3g}"),
    ("$", lambda run: f"{run.usd:.2f}"),
    ("base", lambda run: run.base[:10]),
)


def _grid(found: RunComparison) -> Grid:
    grid = Grid()
    grid.add_column("")
    for run in (found.one, found.other):
        grid.add_column(run.run, right=True)
    for heading, cell in _ROWS:
        grid.add_row(heading, cell(found.one), cell(found.other))
    return grid


def _summary(found: RunComparison) -> Iterator[str]:
    one, other, difference = found.one.run, found.other.run, found.difference
    if found.differs:
        yield f"their scores do not compare: {found.differs}"
    elif difference is None:
        yield "nothing can be said of the difference: a head has no score"
    else:
        clear = abs(difference.mean) > _Z * difference.noise > 0
        better = other if difference.mean > 0 else one
        verdict = f"{better} is better" if clear else "within noise"
        of = "gain" if found.by == "gain" else "score of the head (bases differ)"
        yield f"{other} less {one}, by {of}: {difference.format()}: {verdict}"
    if found.both:
        pairs = ", ".join(f"#{a} and #{b}" for a, b in found.both)
        yield f"alike in both, numbers aside: {pairs}"
