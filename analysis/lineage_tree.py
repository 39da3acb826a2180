"""The lineage as a tree for a terminal: from the base, by island, head by head, to what was tried.

Each island is a branch. Its heads stand below one another in the order they were kept, not inside
one another, so that a chain of fifty fits the screen; what was tried on a head hangs from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rich.text import Text
from rich.tree import Tree

from analysis.lineage import MIGRATED, PORTED, Graph
from islands.events import CROSSED
from islands.records import Gain

_STYLES = {
    "kept": "bold green",
    "failed": "red",
    "refused": "yellow",
    "outdated": "dim",
    "discarded": "dim",
}


def tree(graph: Graph, islands: Iterable[str]) -> Tree:
    """Return the part of the lineage that belongs to `islands`."""
    bases = [node for node, known in graph.nodes(data=True) if known["kind"] == "base"]
    root = Tree(Text(" ".join(_head(graph, base) for base in bases)), highlight=False)
    for island in islands:
        branch = root.add(Text(island, style="bold"))
        heads = _heads(graph, island)
        for base in bases:
            _hang(branch, graph, island, base, heads)
        for head in heads:
            _hang(branch.add(_told(graph, head, island)), graph, island, head, heads)
    return root


def _hang(onto: Tree, graph: Graph, island: str, head: str, kept: list[str]) -> None:
    """Hang from `onto` what the island tried on `head` and did not keep."""
    for node in _tried(graph, head):
        if graph.nodes[node]["island"] == island and node not in kept:
            onto.add(_told(graph, node, island))


def _tried(graph: Graph, head: str) -> list[str]:
    tried = [node for _, node, key in graph.out_edges(head, keys=True) if key == "proposed_from"]
    return sorted(tried, key=lambda node: int(graph.nodes[node]["experiment"]))


def _heads(graph: Graph, island: str) -> list[str]:
    """Return what the island kept, and the heads of others that it caught up with and built on."""
    kept = [
        (known["step"], node)
        for node, known in graph.nodes(data=True)
        if known.get("ending") == "kept"
        and (known["island"] == island or _built_on(graph, island, node))
    ]
    return [node for _, node in sorted(kept)]


def _built_on(graph: Graph, island: str, head: str) -> bool:
    return any(graph.nodes[node]["island"] == island for node in _tried(graph, head))


def _told(graph: Graph, node: str, island: str) -> Text:
    """Return what a person who looks at `island` wants to know of an experiment in one line."""
    known = graph.nodes[node]
    ending = known.get("ending", "open")
    apart = "quarantined" in known
    said = f"{ending}, set apart" if apart else ending
    style = "red" if apart else _STYLES.get(ending, "cyan")
    whose = "" if known["island"] == island else f" by {known['island']}"
    line = Text(f"#{known['experiment']} {said}{whose}", style=style)
    line.append(f" {_measured(known)}" if "gain" in known else "", style="not dim")
    line.append(f" {_head(graph, node)}" if ending == "kept" else "")
    line.append(f"  {plain(known['hypothesis'])}", style="default")
    line.append("".join(f"  {came}" for came in _came(graph, node)), style="cyan")
    return line.append(f"  ({_why(known)})" if ending not in {"kept", "open"} else "")


def _head(graph: Graph, node: str) -> str:
    known = graph.nodes[node]
    score = f" {known['score']:.6g} (n={known['scores']})" if "score" in known else ""
    return f"{node[:8]}{score}"


def _measured(known: dict[str, Any]) -> str:
    return Gain(known["gain"], known["noise"], pairs=0).format()


def _why(known: dict[str, Any]) -> str:
    name = known.get("rule") or known.get("failure")
    return f"{name}: {plain(known['reason'])}" if name else plain(known["reason"])


_TOLD = {CROSSED: "crossed with", MIGRATED: "migrated from", PORTED: "ported from"}


def _came(graph: Graph, node: str) -> Iterator[str]:
    """Yield what a proposal took in of other experiments."""
    for donor, _, key in graph.in_edges(node, keys=True):
        if key in _TOLD:
            known = graph.nodes[donor]
            yield f"{_TOLD[key]} #{known['experiment']} of {known['island']}"


def plain(text: str) -> str:
    """Return the first line of a text that others wrote, fit for a terminal."""
    line = next(iter(text.strip().splitlines()), "")
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)
