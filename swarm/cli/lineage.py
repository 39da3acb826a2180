"""`swarm lineage`: shows the experiments of a run as a tree, or exports the graph."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import click
import networkx as nx
from duckdb import DuckDBPyConnection
from rich.text import Text

from analysis.database.lineage_export import FORMATS, as_text, choose, write_parquet
from analysis.database.queries import answer
from analysis.database.refresh import reading
from analysis.database.rows import load_graph
from analysis.lineage import Graph
from analysis.lineage_tree import tree
from analysis.questions.target import find_experiment
from analysis.times import moment
from analysis.untrusted_text import first_line
from harness.contract import SetupError
from swarm.cli.console import json_option, run_option, wide_console
from swarm.project.runs import locate


@click.command()
@click.argument("change", metavar="[#N|COMMIT]", default="")
@run_option
@click.option("--island", metavar="NAME", help="Show only this island and what it came from.")
@click.option("--kept", is_flag=True, help="Show only what was kept.")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=1),
    help="Show only the latest N experiments, and what was kept.",
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
    node-link data.
    """
    export = "json" if as_json and to is None else to
    if export == "parquet" and out is None:
        raise SetupError("--format parquet: name a folder with --out")
    if export is None and out is not None:
        raise SetupError(f"--out {out}: say what to write with --format {'|'.join(FORMATS)}")
    with reading(locate(name).path) as con:
        every = not change and island is None and not kept and limit is None
        if export is not None and every:
            _export(con, None, export, out)
            return
        thin = not change and island is None and (kept or limit is not None)
        graph = load_graph(con, (0 if kept else limit) if thin else None)
        islands = [row[0] for row in answer(con, "SELECT island FROM standings").rows]
        node = find_experiment(con, change)["node"] if change else ""
        said = answer(con, "FROM steering ORDER BY recorded, rowid").named() if not change else []
        chosen = _named(island, islands)
        shown = _subgraph(graph, chosen)
        if node:
            shown = shown.subgraph({node, *nx.ancestors(graph, node), *nx.descendants(graph, node)})
        if kept or limit is not None:
            shown = _thinned(shown, 0 if kept else limit or 0)
        if export is not None:
            _export(con, shown, export, out)
            return
    console = wide_console()
    console.print(tree(shown, chosen), no_wrap=True, overflow="ellipsis")
    for row in said:
        line = f"{moment(row['recorded'])}  by a person: {_said(row)}"
        console.print(Text(line), no_wrap=True, overflow="ellipsis")


def _named(island: str | None, islands: list[str]) -> list[str]:
    """Return the islands to show: one by name, or all. Raises SetupError for an unknown one."""
    if island is not None and island not in islands:
        raise SetupError(f"--island {island}: no such island; choose one of {', '.join(islands)}")
    return islands if island is None else [island]


def _said(row: Mapping[str, Any]) -> str:
    """Return what a person said: commands in our words, notes in theirs."""
    note = f"note {row['note']}: " if row["action"] == "note_added" else ""
    return f"{note}{first_line(row['reason'])}"


def _subgraph(graph: Graph, islands: Iterable[str]) -> Graph:
    """Return the nodes of the islands, their predecessors, and the run's base."""
    nodes = graph.nodes(data=True)
    own = {node for node, facts in nodes if facts.get("island") in set(islands)}
    bases = {node for node, facts in nodes if facts["kind"] == "base"}
    return graph.subgraph(own.union(bases, *(graph.predecessors(node) for node in own)))


def _thinned(graph: Graph, latest: int) -> Graph:
    """Return what was kept, all that is no experiment, and the `latest` experiments."""
    nodes: dict[str, dict[str, Any]] = {node: facts for node, facts in graph.nodes(data=True)}  # noqa: C416 - dict() of it has no type
    order = sorted((n for n in nodes if "experiment" in nodes[n]), key=_experiment(nodes))[::-1]
    kept = (node for node, facts in nodes.items() if facts.get("ending", "kept") == "kept")
    open_ = {node for node in order if "ending" not in nodes[node]}
    return graph.subgraph({*kept, *islice(order, latest)} - (open_ - {*order[:latest]}))


def _experiment(nodes: dict[str, Any]) -> Any:  # noqa: ANN401 - a key function
    return lambda node: int(nodes[node]["experiment"])


def _export(
    con: DuckDBPyConnection, nodes: Iterable[str] | None, to: str, out: Path | None
) -> None:
    """Write these nodes (None: all) to `out`, or to standard output.

    Raises SetupError where it cannot.
    """
    choose(con, nodes)
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
