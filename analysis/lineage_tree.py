"""The lineage as a tree for a terminal: base, islands, heads, and what was tried on each head.

Each island is a branch. Its heads are siblings in the order they were kept, not nested, so that a
chain of fifty fits the screen; each head's children are the experiments tried on it and not kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text
from rich.tree import Tree

from analysis.grid import Shortened
from analysis.lineage import MIGRATED, PORTED, Graph
from analysis.untrusted_text import first_line
from islands.events import CROSSED
from islands.records import Gain

_STYLES = {
    "kept": "bold green",
    "failed": "red",
    "refused": "yellow",
    "outdated": "dim",
    "discarded": "dim",
}


def tree(graph: Graph, islands: Mapping[str, Collection[str]]) -> Tree:
    """Return the part of the lineage that belongs to `islands`.

    `islands` has the commits that each one's head is built on, others' too. Islands of which the
    graph has nothing share a line.
    """
    bases = [node for node, data in graph.nodes(data=True) if data["kind"] == "base"]
    root = Tree(Shortened(Text(" ".join(_head(graph, base) for base in bases))), highlight=False)
    empty: list[str] = []
    for island, under in islands.items():
        branch = Tree(Shortened(Text(island, style="bold")), highlight=False)
        heads = _heads(graph, island, under)
        for base in bases:
            _add_tried(branch, graph, island, base, heads)
        for head in heads:
            _add_tried(
                branch.add(Shortened(_described(graph, head, island))), graph, island, head, heads
            )
        if branch.children:
            root.children.append(branch)
        else:
            empty.append(island)
    if empty:
        root.add(Shortened(Text(f"nothing on {_listed(empty)}", style="dim")))
    return root


_MAX_LISTED = 8


def _listed(islands: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    names, more = ", ".join(islands[:_MAX_LISTED]), len(islands) - _MAX_LISTED
    return f"{names} and {more} more islands" if more > 0 else names


def _add_tried(onto: Tree, graph: Graph, island: str, head: str, kept: list[str]) -> None:
    """Add to `onto` what the island tried on `head` and did not keep."""
    for node in _tried(graph, head):
        if graph.nodes[node]["island"] == island and node not in kept:
            onto.add(Shortened(_described(graph, node, island)))


def _tried(graph: Graph, head: str) -> list[str]:
    tried = [node for _, node, key in graph.out_edges(head, keys=True) if key == "proposed_from"]
    return sorted(tried, key=lambda node: int(graph.nodes[node]["experiment"]))


def _heads(graph: Graph, island: str, under: Collection[str]) -> list[str]:
    """Return the commits the island kept, and others' that it stands on or has built on."""
    kept = [
        (data["step"], node)
        for node, data in graph.nodes(data=True)
        if data.get("ending") == "kept"
        and (data["island"] == island or node in under or _built_on(graph, island, node))
    ]
    return [node for _, node in sorted(kept)]


def _built_on(graph: Graph, island: str, head: str) -> bool:
    return any(graph.nodes[node]["island"] == island for node in _tried(graph, head))


def _described(graph: Graph, node: str, island: str) -> Text:
    """Return one line on an experiment, as shown on the branch of `island`."""
    data = graph.nodes[node]
    ending = data.get("ending", "open")
    quarantined = "quarantined" in data
    status = f"{ending}, quarantined" if quarantined else ending
    style = "red" if quarantined else _STYLES.get(ending, "cyan")
    owner = "" if data["island"] == island else f" by {data['island']}"
    line = Text(f"#{data['experiment']} {status}{owner}", style=style)
    line.append(f" {_measured(data)}" if "gain" in data else "", style="not dim")
    line.append(f" {_head(graph, node)}" if ending == "kept" else "")
    subject, *_ = data["hypothesis"].splitlines() or [""]
    line.append(f"  {first_line(subject)}", style="default")
    line.append("".join(f"  {source}" for source in _sources(graph, node)), style="cyan")
    return line.append(f"  ({_reason(data)})" if ending not in {"kept", "open"} else "")


def _head(graph: Graph, node: str) -> str:
    data = graph.nodes[node]
    score = f" {data['score']:.6g} (n={data['scores']})" if "score" in data else ""
    return f"{node[:8]}{score}"


def _measured(data: dict[str, Any]) -> str:
    return Gain(data["gain"], data["noise"], pairs=0).format()


def _reason(data: dict[str, Any]) -> str:
    name = data.get("rule") or data.get("failure")
    return f"{name}: {first_line(data['reason'])}" if name else first_line(data["reason"])


_SOURCE_TEXT = {CROSSED: "crossed with", MIGRATED: "migrated from", PORTED: "ported from"}


def _sources(graph: Graph, node: str) -> Iterator[str]:
    """Yield the other experiments that a proposal uses, and how."""
    for donor, _, key in graph.in_edges(node, keys=True):
        if key in _SOURCE_TEXT:
            data = graph.nodes[donor]
            yield f"{_SOURCE_TEXT[key]} #{data['experiment']} of {data['island']}"
