"""The lineage: its nodes and edges agree with the fold of the state."""

import networkx as nx
import pytest

from analysis.lineage import fold
from harness.contract import Slice
from islands import events as ev


def test_the_lineage_agrees_with_the_state(history):
    """Heads, their chains, their scores and all endings are those of the run's own fold."""
    graph, state = fold(history[0]), history[1]
    for name, island in state.islands.items():
        nodes = [data for _, data in graph.nodes(data=True) if data.get("island") == name]
        chain = [island.opened.head, *(change.commit for change in island.kept)]
        assert chain[-1] == island.head
        assert all(graph.has_edge(*pair, "kept_as_head") for pair in nx.utils.pairwise(chain))
        assert [graph.nodes[node]["step"] for node in chain] == list(range(len(chain)))
        assert graph.nodes[island.head]["score"] == pytest.approx(state.scores.mean(island.head))
        for ending, count in island.endings.items():
            assert sum(node.get("ending") == ending for node in nodes) == count
    assert graph.nodes["base"]["score"] == pytest.approx(state.scores.mean("base"))


def test_failures_and_refusals_are_nodes(history):
    """A failed candidate is a node by commit, a refused proposal by number, both with reasons."""
    graph = fold(history[0])
    nodes = dict(graph.nodes(data=True))
    failed = [data for data in nodes.values() if data.get("ending") == "failed"]
    refused = {node: data for node, data in nodes.items() if data.get("ending") == "refused"}
    assert {data["failure"] for data in failed} == {"crash", "timeout"}
    assert len(failed) == 2
    assert all(data["kind"] == "candidate" and "gain" not in data for data in failed)
    assert all(node == f"experiment/{data['experiment']}" for node, data in refused.items())
    assert (
        {"outside"}
        <= {data["rule"] for data in refused.values()}
        <= {"outside", "present", "claimed", "repeat"}
    )
    assert all(graph.has_edge(data["parent"], n, "proposed_from") for n, data in refused.items())


def test_a_crossing_joins_both_of_its_parents(history):
    """A proposal whose notes name a candidate's number has an edge from it, after admission too."""
    graph = fold(history[0])
    crossed = [(a, b) for a, b, key in graph.edges(keys=True) if key == "crossed_with"]
    assert len(crossed) == 2
    for donor, node in crossed:
        assert graph.nodes[donor]["experiment"] == 1
        assert graph.nodes[node]["hypothesis"] == "Cross X"
        assert graph.has_edge(graph.nodes[node]["parent"], node, "proposed_from")


def test_a_merge_is_the_heads_child():
    """A merge is a node with an edge from the head that was merged."""
    opened = ev.IslandOpened("a", "swarm/run1/a", "base", "m", Slice("s", "cpu"))
    graph = fold([opened, ev.Merged("a", "base", "merge", "main", recorded=5.0)])
    assert graph.nodes["merge"] == {"kind": "merge", "island": "a", "recorded": 5.0}
    assert graph.has_edge("base", "merge", "merged_as")
