"""`swarm lineage`: shows the experiments of a run as a tree."""

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
@click.option("--island", metavar="NAME", help="Show only this island and what it came from.")
@json_option
def lineage(name: str | None, island: str | None, as_json: bool) -> None:
    """Show a run's experiments as a tree: parent, result, gain and hypothesis.

    --json prints the graph as networkx's node-link data.
    """
    with reading(locate(name).path) as con:
        graph = load_graph(con)
        islands = [row[0] for row in answer(con, "SELECT island FROM standings").rows]
    if island is not None and island not in islands:
        raise SetupError(f"--island {island}: no such island; choose one of {', '.join(islands)}")
    chosen = islands if island is None else [island]
    if as_json:
        click.echo(to_json(nx.node_link_data(_subgraph(graph, chosen), edges="edges")))
    else:
        wide_console().print(tree(graph, chosen), no_wrap=True, overflow="ellipsis")


def _subgraph(graph: Graph, islands: Iterable[str]) -> Graph:
    """Return the nodes of the islands, their predecessors, and the run's base."""
    nodes = graph.nodes(data=True)
    own = {node for node, facts in nodes if facts.get("island") in set(islands)}
    bases = {node for node, facts in nodes if facts["kind"] == "base"}
    return graph.subgraph(own.union(bases, *(graph.predecessors(node) for node in own)))
