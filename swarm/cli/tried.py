"""`swarm tried`: tells whether something like this was tried, and with what result."""

from __future__ import annotations

from dataclasses import asdict

import click

from analysis.database.queries import answer
from analysis.grid import Fit, Grid
from analysis.questions.tried import PastAttempt
from analysis.run import RecordedRun
from analysis.untrusted_text import first_line
from harness.contract import SetupError
from swarm.cli.console import json_option, run_option, to_json, wide_console
from swarm.project.runs import locate

_MANY = 10_000
"""Candidates above which a line says what takes so long: git reads the diff of each."""

_CANDIDATES = "SELECT count(*) FROM nodes WHERE kind = 'candidate'"


@click.command()
@click.argument("pattern", required=False)
@click.option("--like", metavar="#N|COMMIT", help="Find changes of the same lines as this one.")
@run_option
@json_option
def tried(pattern: str | None, like: str | None, name: str | None, *, as_json: bool) -> None:
    """Show experiments whose hypothesis or changed lines match PATTERN, a regular expression.

    With --like, show those whose change is like another's: the same lines, whatever the numbers.
    """
    if (pattern is None) == (like is None):
        raise SetupError(
            "give a PATTERN or --like CHANGE: `swarm tried warmup`, `swarm tried --like #12`"
        )
    with RecordedRun(locate(name).path) as run:
        ((count,),) = answer(run.connection, _CANDIDATES).rows
        if count > _MANY:
            click.echo(f"searching the diffs of {count:,} candidates in git", err=True)
        found = run.tried(pattern) if pattern is not None else run.like(like or "")
    if as_json:
        click.echo(to_json([asdict(one) for one in found]))
    elif not found:
        click.echo("nothing like this was tried in this run")
    else:
        wide_console().print(_grid(found))


def _grid(found: tuple[PastAttempt, ...]) -> Grid:
    grid = Grid()
    for heading in ("", "island", "ending", "gain", "hypothesis"):
        fit: Fit = "fold" if heading == "hypothesis" else ""
        grid.add_column(heading, right=heading == "gain", fit=fit)
    for one in found:
        gain = "" if one.gain is None else one.gain.format()
        row = (f"#{one.experiment}", one.island, one.ending, gain, first_line(one.hypothesis))
        grid.add_row(*row)
    return grid
