"""`swarm lineage`: who came from what, as a tree."""

from __future__ import annotations

from collections.abc import Iterable

import click
import networkx as nx

from analysis.database.queries import answer
from analysis.database.refresh import reading
from analysis.database.rows import load_graph
from analysis.lineage import Graph
from analysis.lineage_tree import tree
from harness.contract import SetupError
from swarm.cli.console import json_option, run_option, to_json, wide_console
from swarm.project.runs import locate


@click.command()
@run_option
@click.option("--island", help="Only this island, and what it came from.")
@json_option
def lineage(name: str | None, island: str | None, as_json: bool) -> None:
    """Show who came from what: every experiment with its ending, gain and hypothesis.

    As JSON: networkx's node-link data.
    """
    with reading(locate(name).folder) as con:
        graph = load_graph(con)
        islands = [known for (known,) in answer(con, "SELECT island FROM standings").rows]
    if island is not None and island not in islands:
        raise SetupError(f"--island {island}: no such island; there are: {', '.join(islands)}")
    chosen = islands if island is None else [island]
    if as_json:
        click.echo(to_json(nx.node_link_data(_part(graph, chosen), edges="edges")))
    else:
        wide_console().print(tree(graph, chosen), no_wrap=True, overflow="ellipsis")


def _part(graph: Graph, islands: Iterable[str]) -> Graph:
    """Return what belongs to the islands and what that came from."""
    own = {node for node, known in graph.nodes(data=True) if known.get("island") in set(islands)}
    bases = {node for node, known in graph.nodes(data=True) if known["kind"] == "base"}
    return graph.subgraph(own.union(bases, *(graph.predecessors(node) for node in own)))
