"""SQL queries of a run's record, also while the swarm runs.

The most common queries are views of the database (projection/views.py): `standings` (each
island, best first), `kept` (each island's chain of kept changes), `outcomes_by_reason` (what became
of all other proposals), `usage` (what each agent cost), `failures`, `refusals`, `experiments`.

    ask(folder, "FROM kept WHERE island = 'reef'")

A query is one statement that only reads, on a database opened read-only by an instance that may
touch no other file, with one thread and 1 GB of memory.

Not covered: a query has no time limit (Ctrl-C ends it), and takes CPU time from the trials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from duckdb import DuckDBPyConnection, Statement, StatementType

from analysis.database.projection.tables import TABLES
from analysis.database.projection.views import VIEWS
from analysis.database.refresh import reading
from harness.contract import SetupError

_READS = {StatementType.SELECT, StatementType.EXPLAIN}


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a query.

    columns: names of the columns
    rows: the rows, up to the limit
    more: whether there were rows beyond the limit
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    more: bool = False

    def named(self) -> list[dict[str, Any]]:
        """Return each row as a dict. Raises SetupError if two columns have the same name."""
        twice = [name for name in self.columns if self.columns.count(name) > 1]
        if twice:
            raise SetupError(f"two columns are called {twice[0]}: tell them apart with AS")
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def ask(folder: Path, sql: str, limit: int | None = None) -> Answer:
    """Return the first `limit` rows (None: all) of a query of the run in `folder`.

    Raises SetupError, in one line, if `sql` does not only read or DuckDB rejects it.
    """
    with reading(folder) as con:
        return answer(con, sql, limit)


def answer(
    con: DuckDBPyConnection,
    sql: str,
    limit: int | None = None,
    values: Sequence[object] | Mapping[str, object] = (),
) -> Answer:
    """Run a query on a connection that `reading` opened, as `ask` does.

    `values` stand for the `?` in `sql`, in order, or for its `$name`.
    """
    try:
        result = con.execute(reading_only(con, sql), values)
        columns = tuple(name for name, *_ in result.description)
        rows = result.fetchall() if limit is None else result.fetchmany(limit + 1)
    except duckdb.Error as error:
        raise SetupError(_line(error)) from error
    return Answer(columns, tuple(rows[:limit]), more=limit is not None and len(rows) > limit)


def reading_only(con: DuckDBPyConnection, sql: str) -> Statement:
    """Return the one statement of `sql`. Raises SetupError unless it is one that only reads."""
    statements = con.extract_statements(sql)
    if len(statements) != 1:
        raise SetupError(
            "one question at a time, such as `FROM standings`:"
            f" this is {len(statements)} statements"
        )
    if statements[0].type not in _READS:
        raise SetupError(
            f"a question only reads, {statements[0].type.name} does not: begin with SELECT, FROM,"
            " WITH, DESCRIBE, SUMMARIZE, SHOW or EXPLAIN"
        )
    return statements[0]


def _line(error: duckdb.Error) -> str:
    """Return DuckDB's error as one line, with the names of tables and views if one is unknown."""
    if isinstance(error, duckdb.OutOfMemoryException):
        return "the question needs more than the 1 GB of memory that one may have: ask for less"
    line = " ".join(str(error).partition("\nLINE ")[0].split())
    if isinstance(error, duckdb.CatalogException):
        line += f" (tables and views: {', '.join([*TABLES, *VIEWS])})"
    return line
