"""`swarm query`: the record, asked in SQL."""

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
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--limit", default=1000, show_default=True, type=click.IntRange(min=1))
def query(sql: str, name: str | None, as_json: bool, as_csv: bool, limit: int) -> None:
    """Ask the record a question in SQL, such as "FROM standings" or "DESCRIBE trials".

    It is answered from a snapshot, while the swarm runs; a question can change nothing.
    """
    if as_json and as_csv:
        raise SetupError("--json and --csv: choose one")
    found = ask(locate(name).folder, sql, limit)
    if as_json:
        click.echo(to_json(found.named()))
    elif as_csv:
        out = csv.writer(sys.stdout, lineterminator="\n")
        out.writerow(found.columns)
        out.writerows(found.rows)
    else:
        wide_console().print(_shown(found))
    if found.more:
        click.echo(f"the first {limit} rows; ask for more with --limit", err=True)


def _shown(found: Answer) -> Table:
    grid = Table()
    for column in found.columns:
        grid.add_column(Text(column))
    for row in found.rows:
        grid.add_row(*map(_cell, row))
    return grid


def _cell(value: object) -> Text:
    return Text("" if value is None else "\n".join(map(plain, str(value).splitlines())))
