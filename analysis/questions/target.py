"""Targets named on the command line: `#12`, `12`, or the start of a commit id."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from duckdb import DuckDBPyConnection

from analysis.database.queries import answer
from harness.contract import SetupError
from islands.records import Gain

_NUMBER = re.compile(r"#?([0-9]{1,9})")
_COMMIT = re.compile(r"[0-9a-f]{4,64}")


def find_experiment(con: DuckDBPyConnection, target: str) -> dict[str, Any]:
    """Return the row of `nodes` for experiment `#N` or for the commit that `target` begins.

    A number with `#` is always an experiment's. Raises SetupError where nothing, or more than one
    node, fits.
    """
    text = target.strip().lower()
    number = _NUMBER.fullmatch(text)
    rows = _rows(con, "experiment = ?", int(number[1])) if number else []
    if not rows and not text.startswith("#") and _COMMIT.fullmatch(text):
        rows = _rows(con, "starts_with(node, ?) AND experiment IS NOT NULL", text)
    if not rows:
        raise SetupError(
            f"{target!r}: no such experiment in this run; give #NUMBER or the start of a"
            " candidate's commit id (`swarm lineage` lists them)"
        )
    if len(rows) > 1:
        raise SetupError(f"{target!r} fits {len(rows)} commits: give more of the id")
    return rows[0]


def gain_of_row(row: Mapping[str, Any]) -> Gain | None:
    """Return the gain that a row of columns gain, noise and perhaps pairs holds, None for none."""
    if row["gain"] is None:
        return None
    return Gain(row["gain"], row["noise"] or 0.0, row.get("pairs") or 0)


def _rows(con: DuckDBPyConnection, condition: str, value: object) -> list[dict[str, Any]]:
    return answer(con, f"SELECT * FROM nodes WHERE {condition}", values=[value]).named()  # noqa: S608 - two constants above
