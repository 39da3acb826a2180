"""A part of the lineage, chosen by DuckDB: what some islands tried, one change's kin, the latest.

The nodes stand in the temporary table `chosen` until another choice is made. They are loaded with
the edges between them, or exported (lineage_export.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from duckdb import DuckDBPyConnection

from analysis.database.projection.graph_rows import load
from analysis.lineage import Graph

CHOSEN_NODES: Final = "FROM nodes WHERE node IN (FROM chosen) ORDER BY recorded, node"

CHOSEN_EDGES: Final = """
FROM edges WHERE source IN (FROM chosen) AND target IN (FROM chosen)
ORDER BY recorded, source, target, kind
"""

_TRIED: Final = """
WITH own AS (SELECT node FROM nodes WHERE island IN (SELECT unnest($islands)))
FROM own UNION SELECT node FROM nodes WHERE kind = 'base'
UNION SELECT source FROM edges WHERE target IN (FROM own)
UNION SELECT commit FROM kept WHERE island IN (SELECT unnest($islands))
"""
"""What the islands tried, what that came from, what their heads are built on, and the bases."""

_KIN: Final = """
WITH RECURSIVE joints AS MATERIALIZED (
  SELECT source, target FROM edges WHERE target IN (SELECT source FROM edges)
), older AS (
  SELECT source AS node FROM edges WHERE target = $change
  UNION SELECT source FROM older JOIN joints ON target = node
), younger AS (
  SELECT $change AS node UNION SELECT target FROM younger JOIN joints ON source = node
)
FROM older UNION FROM younger UNION SELECT target FROM edges WHERE source IN (FROM younger)
"""
"""A change, what it came from and what came of it. Most candidates lead to nothing: the steps go
along the few edges (joints) between those that do, and only the last one to all others."""

_LATEST: Final = """
SELECT node FROM chosen JOIN nodes USING (node)
WHERE experiment IS NULL OR ending = 'kept' OR node IN (
  SELECT node FROM chosen JOIN nodes USING (node)
  WHERE experiment IS NOT NULL ORDER BY experiment DESC LIMIT $latest)
"""
"""What was kept, what is no experiment, and the latest experiments."""


def choose(
    con: DuckDBPyConnection, islands: Sequence[str], change: str = "", latest: int | None = None
) -> int:
    """Choose what these islands tried, and what that came from.

    change: only this node, its ancestors and its descendants; "" for all
    latest: only what was kept, what is no experiment, and so many of the latest experiments; None
      for all

    Returns how many experiments `latest` leaves out.
    """
    every = _put(con, _TRIED, islands=list(islands))
    if change:
        every = _put(con, f"(FROM chosen) INTERSECT ({_KIN})", change=change)
    return 0 if latest is None else every - _put(con, _LATEST, latest=latest)


def load_chosen(con: DuckDBPyConnection) -> Graph:
    """Return the part of the lineage that `choose` chose."""
    return load(con, CHOSEN_NODES, CHOSEN_EDGES)


def _put(con: DuckDBPyConnection, query: str, **values: object) -> int:
    """Choose the nodes that a query names; return how many they are."""
    con.execute(f"CREATE OR REPLACE TEMP TABLE chosen AS {query}", values)
    (count,) = con.execute("SELECT count(*) FROM chosen").fetchall()[0]
    return int(count)
