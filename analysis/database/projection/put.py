"""Rows put into the tables, merged into those that have the same keys."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from duckdb import DuckDBPyConnection

from analysis.database.projection.columns import COLUMNS
from analysis.database.projection.tables import TABLES

Row = Mapping[str, Any]

_ENCODER = json.JSONEncoder(allow_nan=False)


def put(con: DuckDBPyConnection, table: str, new: Sequence[Row]) -> None:
    """Add rows to a table, or merge them into those with the same keys, in order.

    One statement takes all rows with the same columns, each as a JSON text (10,000 rows of trials
    in 0.2 s; as one text of all rows 0.6 s; executemany takes 1.5 ms a row).
    """
    keys = TABLES[table].columns[: TABLES[table].keys]
    alike: dict[tuple[str, ...], list[Row]] = {}
    for row in _merge_rows(new, keys) if keys else new:
        alike.setdefault(tuple(sorted(row)), []).append(row)
    for columns, group in alike.items():
        times = [name for name in columns if COLUMNS[name].type == "TIMESTAMP"]
        types = {name: COLUMNS[name].type for name in columns} | dict.fromkeys(times, "BIGINT")
        made = ", ".join(f"make_timestamp({name}) AS {name}" for name in times)
        made = f"REPLACE ({made})" if made else ""
        sets = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in keys)
        clash = f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {sets}" if keys else ""
        con.execute(
            f"INSERT INTO {table} BY NAME SELECT * {made} FROM (SELECT"  # noqa: S608 - the schema's names
            f" unnest(from_json(row, '{json.dumps(types)}')) FROM (SELECT unnest(?) AS row))"
            f" {clash}",
            [[_json(row, times) for row in group]],
        )


def _json(row: Row, times: Sequence[str]) -> str:
    """Return a row as JSON, with times in whole microseconds since the epoch."""
    at = {name: round(1e6 * row[name]) for name in times if row[name] is not None}
    return _ENCODER.encode({**row, **at})


def _merge_rows(new: Iterable[Row], keys: Sequence[str]) -> Iterable[Row]:
    """Return one row for each key; later rows' columns replace earlier ones'."""
    merged: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in new:
        merged.setdefault(tuple(row[key] for key in keys), {}).update(row)
    return merged.values()
