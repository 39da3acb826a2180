"""`swarm query`: answers questions about a run in SQL."""

from __future__ import annotations

import csv
import sys

import click
from rich.table import Table
from rich.text import Text

from analysis.database.queries import Answer, ask
from analysis.database.schema import TABLES, VIEWS
from analysis.lineage_tree import plain
from harness.contract import SetupError
from swarm.cli.console import json_option, run_option, to_json, wide_console
from swarm.project.runs import locate


@click.command(epilog=f"Tables: {', '.join(TABLES)}. Views: {', '.join(VIEWS)}.")
@click.argument("sql")
@run_option
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print the result as CSV.")
@click.option(
    "--limit",
    metavar="ROWS",
    default=1000,
    show_default=True,
    type=click.IntRange(min=1),
    help="Print at most this many rows.",
)
def query(sql: str, name: str | None, as_json: bool, as_csv: bool, limit: int) -> None:
    """Query the record of a run in SQL: "FROM standings", "DESCRIBE trials".

    Queries run on a read-only snapshot, also while the swarm runs.
    """
    if as_json and as_csv:
        raise SetupError("--json and --csv: choose one")
    result = ask(locate(name).path, sql, limit)
    if as_json:
        click.echo(to_json(result.named()))
    elif as_csv:
        out = csv.writer(sys.stdout, lineterminator="\n")
        out.writerow(result.columns)
        out.writerows(result.rows)
    else:
        wide_console().print(_table(result))
    if result.more:
        click.echo(f"only the first {limit} rows are shown: raise --limit for more", err=True)


def _table(result: Answer) -> Table:
    grid = Table()
    for column in result.columns:
        grid.add_column(Text(column))
    for row in result.rows:
        grid.add_row(*map(_cell, row))
    return grid


def _cell(value: object) -> Text:
    return Text("" if value is None else "\n".join(map(plain, str(value).splitlines())))
