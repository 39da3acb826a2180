"""The lineage as rows of the tables `nodes` and `edges`: saved, and loaded whole or in part."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import networkx as nx
from duckdb import DuckDBPyConnection

from analysis.database.projection.columns import COLUMNS
from analysis.database.projection.put import Row, put
from analysis.database.projection.tables import TABLES
from analysis.lineage import Graph

_NAMES = {name: frozenset(table.columns) for name, table in TABLES.items()}


def save_graph(graph: Graph, con: DuckDBPyConnection) -> None:
    """Write a lineage's nodes and edges to the tables of `con`, replacing those with the same keys.

    Raises ValueError at an attribute that has no column or is None, so that none is lost silently.
    """
    nodes = ({"node": node, **data} for node, data in graph.nodes(data=True))
    edges = (
        {"source": source, "target": target, "kind": kind, **data}
        for source, target, kind, data in graph.edges(keys=True, data=True)
    )
    put(con, "nodes", [_full("nodes", row) for row in nodes])
    put(con, "edges", [_full("edges", row) for row in edges])


def load_graph(con: DuckDBPyConnection) -> Graph:
    """Return the lineage that `save_graph` wrote, equal to it in every attribute."""
    return load(con, "FROM nodes ORDER BY recorded, node", "FROM edges ORDER BY recorded")


def load_named(con: DuckDBPyConnection, names: Iterable[int | str]) -> Graph:
    """Return the nodes that go by these names, the edges into them, and their sources.

    names: experiments by number, commits by id
    """
    known = set(names)
    commits = [name for name in known if isinstance(name, str)]
    numbers = [name for name in known if isinstance(name, int)]
    con.execute(
        "CREATE OR REPLACE TEMP TABLE named AS SELECT node FROM nodes"
        " WHERE node IN (SELECT unnest(?)) OR experiment IN (SELECT unnest(?))",
        [commits, numbers],
    )
    into = "FROM edges WHERE target IN (FROM named)"
    return load(con, f"FROM nodes WHERE node IN (FROM named UNION SELECT source {into})", into)


def load(con: DuckDBPyConnection, nodes: str, edges: str) -> Graph:
    """Return the nodes and edges that two queries choose, each from its FROM on."""
    graph: Graph = nx.MultiDiGraph()
    for row in _rows(con, "nodes", nodes):
        graph.add_node(row.pop("node"), **row)
    for row in _rows(con, "edges", edges):
        graph.add_edge(row.pop("source"), row.pop("target"), row.pop("kind"), **row)
    return graph


def _rows(con: DuckDBPyConnection, table: str, query: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table that `query` says, without NULLs, as the events have them."""
    columns = TABLES[table].columns
    texts = [name for name in columns if COLUMNS[name].type == "JSON"]
    for row in con.execute(f"SELECT {', '.join(map(_as_in_events, columns))} {query}").fetchall():
        known = {name: cell for name, cell in zip(columns, row, strict=True) if cell is not None}
        for name in texts:
            if name in known:
                known[name] = json.loads(known[name])
        yield known


def _as_in_events(column: str) -> str:
    """Return the SQL of a column's value; of a time, its seconds since the epoch."""
    return f"epoch({column})" if COLUMNS[column].type == "TIMESTAMP" else column


def _full(table: str, row: Row) -> Row:
    """Return a row with all of the table's columns, None where it has no value."""
    columns = TABLES[table].columns
    if None in row.values() or not row.keys() <= _NAMES[table]:
        unknown = [name for name, value in row.items() if name not in columns or value is None]
        raise ValueError(f"{table} cannot keep {', '.join(unknown)} of {row!r}")
    return {name: row.get(name) for name in columns}
