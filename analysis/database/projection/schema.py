"""Schema of `lineage.duckdb`: tables and views with the meaning of each column, in the file itself.

Times are UTC. Gains are in units of the metric, signed so that above zero is better.
"""

from __future__ import annotations

from duckdb import DuckDBPyConnection

from analysis.database.projection.columns import COLUMNS
from analysis.database.projection.tables import TABLES, Table
from analysis.database.projection.views import VIEWS


def create(con: DuckDBPyConnection) -> None:
    """Create all tables and views, with comments, in the empty database that `con` uses."""
    for name, table in TABLES.items():
        con.execute(f"CREATE TABLE {name} ({_definition(table)})")
        con.execute(f"COMMENT ON TABLE {name} IS {quoted(table.about)}")
        _describe(con, name)
    for name, view in VIEWS.items():
        con.execute(f"CREATE VIEW {name} AS {view.query}")
        con.execute(f"COMMENT ON VIEW {name} IS {quoted(view.about)}")
        _describe(con, name)


def quoted(text: str) -> str:
    """Return `text` as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def _describe(con: DuckDBPyConnection, name: str) -> None:
    for column, *_ in con.execute(f"DESCRIBE {name}").fetchall():
        con.execute(f"COMMENT ON COLUMN {name}.{column} IS {quoted(COLUMNS[column].about)}")


def _definition(table: Table) -> str:
    columns = [f"{name} {COLUMNS[name].type}" for name in table.columns]
    if table.keys:
        columns.append(f"PRIMARY KEY ({', '.join(table.columns[: table.keys])})")
    return ", ".join(columns)
