"""Export of the lineage: node-link JSON, GraphML, Graphviz, Parquet.

JSON is networkx's node-link data and loses nothing. GraphML and Graphviz take only numbers and
text: other values are written as JSON, characters that XML forbids are replaced. Parquet is two
files, `nodes.parquet` and `edges.parquet`, one row a node or an edge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Final

import duckdb
import networkx as nx

from analysis.lineage import Graph
from analysis.plain_json import to_json
from analysis.untrusted_text import printable

FORMATS: Final = ("json", "graphml", "dot", "parquet")


def as_text(graph: Graph, to: str) -> str:
    """Return the graph as `json`, `graphml` or `dot`. Raises ValueError for another format."""
    match to:
        case "json":
            return to_json(nx.node_link_data(graph, edges="edges")) + "\n"
        case "graphml":
            return "\n".join(nx.generate_graphml(_flat(graph))) + "\n"
        case "dot":
            return "\n".join(_dot(graph)) + "\n"
    raise ValueError(to)


def write_parquet(graph: Graph, folder: Path) -> None:
    """Write nodes.parquet and edges.parquet into `folder`. Raises OSError where it cannot."""
    folder.mkdir(parents=True, exist_ok=True)
    nodes = ({"node": node, **facts} for node, facts in graph.nodes(data=True))
    edges = (
        {"source": source, "target": target, "kind": key, **facts}
        for source, target, key, facts in graph.edges(keys=True, data=True)
    )
    _parquet(folder, "nodes", nodes)
    _parquet(folder, "edges", edges)


def _parquet(folder: Path, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    lines = folder / f".{table}.jsonl"
    lines.write_text("".join(to_json(row) + "\n" for row in rows), encoding="utf-8")
    source = f"read_json({_quoted(lines)}, format = 'newline_delimited', sample_size = -1)"
    with duckdb.connect() as con:
        con.execute(f"COPY (FROM {source}) TO {_quoted(folder / f'{table}.parquet')}")
    lines.unlink()


def _quoted(path: Path) -> str:
    text = str(path).replace("'", "''")
    return f"'{text}'"


def _flat(graph: Graph) -> Graph:
    """Return a copy whose attributes are numbers and text."""
    flat: Graph = nx.MultiDiGraph()
    for node, facts in graph.nodes(data=True):
        flat.add_node(node, **{name: _plain(value) for name, value in facts.items()})
    for source, target, key, facts in graph.edges(keys=True, data=True):
        plain = {name: _plain(value) for name, value in facts.items()}
        flat.add_edge(source, target, key, kind=key, **plain)
    return flat


def _plain(value: object) -> str | int | float:
    if isinstance(value, int | float):
        return value
    text = value if isinstance(value, str) else to_json(value)
    return printable(text, keep="\n\t")


def _dot(graph: Graph) -> Iterable[str]:
    """Yield the lines of a Graphviz file: one box a node, one arrow a relation."""
    nodes = (
        f"  {_string(node)} [label={_string(_label(node, facts))}];"
        for node, facts in graph.nodes(data=True)
    )
    edges = (
        f"  {_string(source)} -> {_string(target)} [label={_string(key)}];"
        for source, target, key in graph.edges(keys=True)
    )
    return chain(("digraph lineage {", "  rankdir=LR; node [shape=box];"), nodes, edges, ("}",))


def _label(node: str, facts: Mapping[str, Any]) -> str:
    number = f"#{facts['experiment']} " if "experiment" in facts else ""
    return f"{number}{facts.get('ending', facts['kind'])} {facts.get('hypothesis', node[:10])}"


def _string(text: str) -> str:
    clean = str(_plain(text)).replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'"{clean}"'
