"""`swarm schema`: prints the tables and views of the record with their meaning."""

from __future__ import annotations

from collections.abc import Iterator

import click

from analysis.database.projection.columns import COLUMNS
from analysis.database.projection.tables import TABLES
from analysis.database.projection.views import VIEWS
from harness.contract import SetupError
from islands.events import FORMAT
from swarm.cli.console import json_option, to_json

_QUOTED = 60
"""Characters of a column's type that are shown before its meaning."""


@click.command()
@click.argument("table", required=False)
@json_option
def schema(table: str | None, *, as_json: bool) -> None:
    """Print the tables and views that `swarm query` reads; with TABLE, its columns.

    The version is that of the record format; it changes when an older reader would misread it.
    """
    known = {**TABLES, **VIEWS}
    if table is not None and table not in known:
        raise SetupError(f"{table}: no such table or view; choose one of {', '.join(known)}")
    if as_json:
        click.echo(to_json(_described(table)))
        return
    for line in _tables() if table is None else _columns(table):
        click.echo(line)


def _tables() -> Iterator[str]:
    yield f"record format {FORMAT}"
    for title, group in (("tables", TABLES), ("views", VIEWS)):
        yield f"\n{title}"
        for name, one in group.items():
            yield f"  {name:20} {one.about}"


def _columns(table: str) -> Iterator[str]:
    if table in VIEWS:
        yield VIEWS[table].about
        yield f"its columns: swarm query 'DESCRIBE {table}'"
        return
    yield TABLES[table].about
    for name in TABLES[table].columns:
        column = COLUMNS[name]
        yield f"  {name:18} {column.type[:_QUOTED]:20} {column.about}"


def _described(table: str | None) -> object:
    def columns(name: str) -> object:
        return [
            {"name": column, "type": COLUMNS[column].type, "about": COLUMNS[column].about}
            for column in TABLES[name].columns
        ]

    tables = {name: {"about": one.about, "columns": columns(name)} for name, one in TABLES.items()}
    views = {name: {"about": one.about, "query": one.query} for name, one in VIEWS.items()}
    if table is not None:
        return tables.get(table) or views[table]
    return {"format": FORMAT, "tables": tables, "views": views}
