"""`swarm migrations`: shows each change brought to another island, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import click

from analysis.grid import Grid
from analysis.questions.migrations import MigrationRecord
from analysis.run import RecordedRun
from analysis.untrusted_text import first_line
from islands.records import Gain
from swarm.cli.console import json_option, plural, run_option, to_json, wide_console
from swarm.project.runs import locate


@click.command()
@run_option
@json_option
def migrations(name: str | None, *, as_json: bool) -> None:
    """Show each change brought to another island: its gain where it was made, and here."""
    with RecordedRun(locate(name).path) as run:
        record = run.migrations()
    if as_json:
        click.echo(to_json(asdict(record) | {"counts": record.counts}))
        return
    if record.attempts:
        wide_console().print(_grid(record))
    for line in _summary(record):
        click.echo(line)


def _grid(record: MigrationRecord) -> Grid:
    grid = Grid()
    for heading in ("change", "from", "to", "result"):
        grid.add_column(heading)
    for heading in ("gain there", "gain here"):
        grid.add_column(heading, right=True)
    grid.add_column("hypothesis", fit="shorten")
    for one in record.attempts:
        result = one.result if one.mode == "migrated" else f"{one.result} ({one.mode})"
        row = (
            f"#{one.origin_experiment}",
            one.origin_island,
            f"{one.island} #{one.experiment}",
            result,
            _gain(one.origin_gain),
            _gain(one.gain),
            first_line(one.hypothesis),
        )
        grid.add_row(*row)
    return grid


def _summary(record: MigrationRecord) -> Iterator[str]:
    if not record.attempts:
        yield "no change was brought to another island"
    else:
        counts = ", ".join(f"{count} {result}" for result, count in record.counts.items())
        yield f"{plural(len(record.attempts), 'change')} brought to another island: {counts}"
    if record.found_again is not None:
        there, here = record.found_again
        yield f"where both were measured: gain {there.format()} there, {here.format()} here"
    if record.adoptions:
        yield f"heads adopted without a trial: {record.adoptions}"


def _gain(gain: Gain | None) -> str:
    return "-" if gain is None else gain.format()
