"""`swarm lineage`: shows the experiments of a run as a tree, or exports the graph."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from duckdb import DuckDBPyConnection
from rich.text import Text

from analysis.database.lineage_choice import choose, load_chosen
from analysis.database.lineage_export import FORMATS, as_text, write_parquet
from analysis.database.queries import answer
from analysis.database.refresh import reading
from analysis.grid import Shortened
from analysis.lineage_tree import tree
from analysis.questions.target import find_experiment
from analysis.times import moment
from analysis.untrusted_text import first_line
from harness.contract import SetupError
from swarm.cli.console import json_option, require_one, run_option, wide_console
from swarm.project.runs import locate

MAX_SHOWN = 1000
"""Experiments not kept that a tree shows, the latest, unless --limit says how many."""


@click.command()
@click.argument("change", metavar="[#N|COMMIT]", default="")
@run_option
@click.option("--island", metavar="NAME", help="Show only this island and what it came from.")
@click.option("--kept", is_flag=True, help="Show only what was kept.")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=1),
    help=f"Show the latest N experiments, and what was kept. [default: {MAX_SHOWN}]",
)
@click.option(
    "--format",
    "to",
    type=click.Choice(FORMATS),
    help="Export the graph instead: node-link JSON, GraphML, Graphviz, or Parquet files.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Where to write the export; a folder for Parquet. [default: standard output]",
)
@json_option
def lineage(
    change: str,
    name: str | None,
    island: str | None,
    limit: int | None,
    to: str | None,
    out: Path | None,
    *,
    kept: bool,
    as_json: bool,
) -> None:
    """Show a run's experiments as a tree: parent, result, gain and hypothesis.

    With a change: only its ancestors and what was built on it. --json is --format json: networkx's
    node-link data. What is exported is whole unless --limit says otherwise.
    """
    require_one(kept=kept, limit=limit)
    require_one(as_json=as_json, format=to not in (None, "json"))
    export = "json" if as_json and to is None else to
    if export == "parquet" and out is None:
        raise SetupError("--format parquet: name a folder with --out")
    if export is None and out is not None:
        raise SetupError(f"--out {out}: say what to write with --format {'|'.join(FORMATS)}")
    latest = 0 if kept else limit
    with reading(locate(name).path) as con:
        chosen = _named(island, dict(answer(con, _UNDER).rows))
        node = find_experiment(con, change)["node"] if change else ""
        if export is not None:
            choose(con, [*chosen], node, latest)
            _export(con, export, out)
            return
        left_out = choose(con, [*chosen], node, MAX_SHOWN if latest is None else latest)
        graph = load_chosen(con)
        said = answer(con, "FROM steering ORDER BY recorded, rowid").named() if not change else []
    console = wide_console()
    console.print(tree(graph, chosen))
    if left_out and latest is None:
        click.echo(f"left out: {left_out:,} earlier experiments that were not kept (--limit N)")
    for row in said:
        line = f"{moment(row['recorded'])}  by a person: {_said(row)}"
        console.print(Shortened(Text(line)))


_UNDER = """
SELECT island, (SELECT coalesce(list(commit), []) FROM kept WHERE kept.island = standings.island)
FROM standings
"""
"""Each island, and the kept changes that its head is built on."""


def _named(island: str | None, islands: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the islands to show: one by name, or all. Raises SetupError for an unknown one."""
    if island is not None and island not in islands:
        raise SetupError(
            f"--island {island}: no such island; choose one of {', '.join(sorted(islands))}"
        )
    return islands if island is None else {island: islands[island]}


def _said(row: Mapping[str, Any]) -> str:
    """Return what a person said: commands in our words, notes in theirs."""
    note = f"note {row['note']}: " if row["action"] == "note_added" else ""
    return f"{note}{first_line(row['reason'])}"


def _export(con: DuckDBPyConnection, to: str, out: Path | None) -> None:
    """Write what was chosen to `out`, or to standard output. Raises SetupError where it cannot."""
    try:
        if out is None:
            sys.stdout.writelines(as_text(con, to))
        elif to == "parquet":
            write_parquet(con, out)
        else:
            with out.open("w", encoding="utf-8") as file:
                file.writelines(as_text(con, to))
    except OSError as error:
        raise SetupError(f"--out {out}: {error.strerror}") from None
