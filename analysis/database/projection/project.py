"""The next events of a ledger, projected onto the tables.

`rows` turns an event into rows without reading the tables. Of the lineage, only the part that a
batch of events refers to is read, updated and written back, so a batch's cost does not grow with
the run.
"""

from __future__ import annotations

from collections.abc import Sequence

from duckdb import DuckDBPyConnection

from analysis.database.projection.event_rows import rows
from analysis.database.projection.graph_rows import load_named, save_graph
from analysis.database.projection.lookups import speaks_of
from analysis.database.projection.put import Row, put
from analysis.database.projection.stack_events import TABLE as STACK_EVENTS
from analysis.database.projection.stack_events import is_stack_event
from analysis.lineage import Lineage
from islands import events as ev


def project(con: DuckDBPyConnection, history: Sequence[ev.Event]) -> None:
    """Add the next events of the ledger to the tables of `con`."""
    named = (name for event in history for name in speaks_of(event))
    part = Lineage(load_named(con, named))
    before = set(part.graph)
    by_table: dict[str, list[Row]] = {}
    take = part.take  # looked up once: singledispatchmethod wraps anew at each look
    for event in history:
        take(event)
        for table, row in rows(event):
            by_table.setdefault(table, []).append(row)
        if is_stack_event(event):
            row = {"event": ev.encode(event).decode(), "recorded": event.recorded}
            by_table.setdefault(STACK_EVENTS, []).append(row)
    admitted = [list(before - set(part.graph))]  # nodes that now go by their commit's id
    con.execute("DELETE FROM nodes WHERE node IN (SELECT unnest(?))", admitted)
    con.execute("DELETE FROM edges WHERE target IN (SELECT unnest(?))", admitted)
    save_graph(part.graph, con)
    for table, new in by_table.items():
        put(con, table, new)
    if any(isinstance(event, _MARKING) for event in history):
        for table in _STACKED:
            con.execute(_MARK.format(table=table))


_STACKED = ("stacks", "promotions", "consensus")
"""Tables whose rows are each about a stack on a base, and are in force unless quarantined."""

_MARKING = (
    ev.CommitQuarantined
    | ev.StackCheckStarted
    | ev.StackCheckEnded
    | ev.PromotionStarted
    | ev.ConsensusMoved
)
"""Events after which a row of these tables may be quarantined, or no longer."""

_MARK = """
UPDATE {table} SET quarantined = (
  SELECT min(nodes.quarantined) FROM nodes WHERE nodes.quarantined IS NOT NULL
    AND (node IN ({table}.base, {table}.commit) OR list_contains({table}.parts, experiment)))
"""
"""Marks the rows whose base, commit or a part is quarantined, as `Promotions.is_sound` has it."""
