"""`swarm query`: answers questions about a run in SQL."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator
from datetime import datetime

import click
from rich.table import Table
from rich.text import Text

from analysis.database.projection.tables import TABLES
from analysis.database.projection.views import VIEWS
from analysis.database.queries import Answer, ask
from analysis.untrusted_text import first_line
from swarm.cli.console import json_option, require_one, run_option, to_json, wide_console
from swarm.project.runs import locate

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

SHORT_COMMIT = 10
"""Characters of a commit id on a screen; --json, --csv and --wide give all of it."""

COLUMN_GAP = 2
"""Spaces between two columns of a table."""


@click.command(
    epilog=f"Tables: {', '.join(TABLES)}. Views: {', '.join(VIEWS)}. `swarm schema` explains them."
)
@click.argument("sql")
@run_option
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print the result as CSV.")
@click.option("--wide", is_flag=True, help="Print a table, however wide, with nothing shortened.")
@click.option(
    "--limit",
    metavar="ROWS",
    default=1000,
    show_default=True,
    type=click.IntRange(min=1),
    help="Print at most this many rows.",
)
def query(
    sql: str, name: str | None, limit: int, *, as_json: bool, as_csv: bool, wide: bool
) -> None:
    """Query the record of a run in SQL: "FROM standings", "DESCRIBE trials".

    Queries run on a read-only snapshot, also while the swarm runs. A result that is wider than the
    terminal is printed row by row, one value a line.
    """
    require_one(as_json=as_json, as_csv=as_csv)
    result = ask(locate(name).path, sql, limit)
    if as_json:
        click.echo(to_json(result.named()))
    elif as_csv:
        out = csv.writer(sys.stdout, lineterminator="\n")
        out.writerow(result.columns)
        out.writerows(result.rows)
    else:
        _print(result, wide=wide)
        if not result.rows:
            click.echo("no rows", err=True)
    if result.more:
        click.echo(f"only the first {limit} rows are shown: raise --limit for more", err=True)


def _print(result: Answer, *, wide: bool) -> None:
    rows = [[_cell(value, whole=wide) for value in row] for row in result.rows]
    width = table_width(result.columns, rows)
    console = wide_console(columns=max(width, 1) if wide else None)
    if width <= console.width:
        console.print(_table(result, rows))
    else:
        for line in records(result.columns, rows):
            console.print(Text(line), soft_wrap=True)


def table_width(columns: tuple[str, ...], rows: list[list[str]]) -> int:
    """Return the width of a table that cuts and wraps nothing."""
    widths = [len(column) for column in columns]
    for row in rows:
        widths = [
            max(width, *(len(line) for line in cell.split("\n")))
            for width, cell in zip(widths, row, strict=True)
        ]
    return sum(widths) + COLUMN_GAP * (len(widths) - 1)


def records(columns: tuple[str, ...], rows: list[list[str]]) -> Iterator[str]:
    """Yield each row down the page: its number, then a line for each value that it has."""
    indent = max(map(len, columns), default=0)
    for number, row in enumerate(rows, 1):
        yield f"row {number}"
        for column, cell in zip(columns, row, strict=True):
            if cell:
                yield f"  {column:{indent}}  {cell.replace(chr(10), ' / ')}"


def _table(result: Answer, rows: list[list[str]]) -> Table:
    grid = Table(box=None, padding=(0, COLUMN_GAP, 0, 0), pad_edge=False)
    for place, column in enumerate(result.columns):
        number = any(isinstance(row[place], int | float) for row in result.rows)
        grid.add_column(Text(column), justify="right" if number else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*map(Text, row))
    return grid


def _cell(value: object, *, whole: bool) -> str:
    """Return a value as text that steers no terminal; unless `whole`, as short as it is clear."""
    if value is None:
        return ""
    text = str(value) if whole else _short(value)
    return "\n".join(map(first_line, text.splitlines()))


def _short(value: object) -> str:
    match value:
        case float():
            return f"{value:.6g}"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S}"
        case str() if _COMMIT.fullmatch(value):
            return value[:SHORT_COMMIT]
        case dict():
            return ", ".join(f"{key} {_short(item)}" for key, item in value.items())
        case list() | tuple():
            return ", ".join(map(_short, value))
    return str(value)
