"""Quarantine of an invalid commit's descendants, held against networkx on any history."""

import dataclasses

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract import Failure, Outcome, Slice
from islands import events as ev
from islands.migration import Migrants, Migration
from islands.quarantine import REASON, Quarantine, Quarantines, quarantine
from islands.ratchet.acceptance import NEAR_MISS
from islands.records import Gain, Migrant

# island a kept 1, 2, 3 in turn, b kept 4 and then 5, which carries 2 over; 6 was tried on 5
CHAINS = {"a": ["base", "1", "2", "3"], "b": ["base", "4", "5"], "c": ["base"]}
ORIGINS = {"1": ["base"], "4": ["base"], "5": ["4", "2"], "6": ["5"], "7": ["1"]}


def test_descendants_are_quarantined_and_islands_fall_back():
    """All that was built on it goes, on any island, and heads fall back to the last sound one."""
    assert quarantine(ORIGINS, CHAINS, "2") == Quarantine(
        frozenset({"2", "3", "5", "6"}), {"a": "1", "b": "4"}
    )


def test_a_head_without_descendants_goes_alone():
    """Nothing came from it, so only its island falls back, by one."""
    assert quarantine(ORIGINS, CHAINS, "3") == Quarantine(frozenset({"3"}), {"a": "2"})


def test_a_candidate_that_was_never_a_head_moves_no_head():
    """It is quarantined, and no island has to fall back."""
    assert quarantine(ORIGINS, CHAINS, "7") == Quarantine(frozenset({"7"}), {})


def test_an_invalid_base_leaves_no_fallback():
    """Every island gets the fallback None, also one that has kept nothing."""
    result = quarantine(ORIGINS, CHAINS, "base")
    assert result.heads == {"a": None, "b": None, "c": None}
    assert result.commits == {"base", "1", "2", "3", "4", "5", "6", "7"}


def test_an_unknown_commit_goes_alone():
    """An unknown commit may be quarantined before anything is made of it."""
    assert quarantine({}, {"a": ["base"]}, "x") == Quarantine(frozenset({"x"}), {})


def test_the_reason_says_nothing_about_the_trial():
    """One fixed sentence: no number, no part of the harness, nothing to learn to cheat from."""
    assert not any(char.isdigit() for char in REASON)
    assert len(REASON.splitlines()) == 1


@st.composite
def histories(draw):
    """Draw commits in order, each made of earlier ones, and islands' heads among them."""
    count, origins = draw(st.integers(1, 24)), {}
    for number in range(1, count):
        sources = st.sets(st.integers(0, number - 1).map(str), max_size=3)
        origins[str(number)] = sorted(draw(sources))
    heads = st.sets(st.integers(1, count - 1), max_size=8) if count > 1 else st.just(set())
    islands = draw(st.integers(1, 4))
    chains = {f"i{k}": ["0", *map(str, sorted(draw(heads)))] for k in range(islands)}
    return origins, chains, str(draw(st.integers(0, count - 1)))


@given(histories())
def test_any_history_is_quarantined_as_its_graph_says(history):
    """All descendants and no other; the fallback is the newest head before the first bad one."""
    origins, chains, invalid = history
    graph = nx.DiGraph()
    graph.add_node(invalid)
    graph.add_edges_from((source, new) for new, sources in origins.items() for source in sources)
    for heads in chains.values():
        nx.add_path(graph, heads)
    result = quarantine(origins, chains, invalid)
    assert result.commits == {invalid, *nx.descendants(graph, invalid)}
    for island, heads in chains.items():
        sound = [head for head in heads if head not in result.commits]
        assert (island in result.heads) == (heads[-1] in result.commits)
        if island in result.heads:
            assert result.heads[island] == (sound[-1] if sound else None)
            assert heads[: len(sound)] == sound


@given(histories(), st.data())
def test_two_quarantines_commute(history, data):
    """Two invalid commits leave the same heads in either order."""
    origins, chains, first = history
    second = data.draw(st.sampled_from(["0", *origins]))
    ends = []
    for order in ((first, second), (second, first)):
        now, gone = dict(chains), frozenset()
        for invalid in order:
            result = quarantine(origins, now, invalid)
            gone |= result.commits
            now = {
                name: [head for head in heads if head not in result.commits] or heads
                for name, heads in now.items()
            }
        ends.append(
            {name: heads[-1] if heads[-1] not in gone else None for name, heads in now.items()}
        )
    assert ends[0] == ends[1]


# the fold, which reads origins off the events

GAIN = Gain(0.5, 0.1, 4, 0.001)


def kept_change(commit, number, island="a"):
    """Return the events that propose, admit and keep a change of the base."""
    return [
        ev.ProposalReceived(number, island, "lab", "base", "better"),
        ev.CandidateAdmitted(number, island, commit, "base", 1, 1),
        ev.VerdictReached(number, island, commit, "base", "keep", "gain", GAIN),
    ]


def invalid(commit, purpose="sentinel"):
    """Return a trial of `commit` that found it invalid."""
    failure = Failure("invalid", "its forecasts change")
    start = ev.TrialStarted("t1", 0, "a", commit, purpose, 1, 0, "s0")
    return [start, ev.TrialEnded(start, Outcome("t1", "h", "namespaces", failure=failure))]


def folded(*history):
    """Return the fold of three islands' events."""
    fold = Quarantines()
    for event in [
        *(ev.IslandOpened(n, n, "base", "lab", Slice(n, "cpu")) for n in "abc"),
        *history,
    ]:
        fold.apply(event)
    return fold


MIGRANT = Migrant(1, 1, "a", "base", "c1", "better", GAIN)
DERIVED = {
    "a crossing": [
        ev.ProposalReceived(2, "b", "lab", "base", "h", {"crossed_with": 1.0}),
        ev.CandidateAdmitted(2, "b", "c2", "base", 1, 1),
    ],
    "a port": [
        ev.ProposalReceived(2, "b", "lab", "base", "h", origin=1),
        ev.CandidateAdmitted(2, "b", "c2", "base", 1, 1),
    ],
    "a migrant": [
        ev.MigrantOffered(2, "b", "base", MIGRANT),
        ev.CandidateAdmitted(2, "b", "c2", "base", 1, 1),
    ],
    "a stack": [ev.StackCheckAssembled(1, (1,), "c2", base="base")],
    "a consensus": [ev.ConsensusMoved(1, "base", "", "c2", (1,), ("c2",))],
}


@pytest.mark.parametrize("made", DERIVED.values(), ids=DERIVED)
@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_all_that_derives_from_a_change_is_quarantined_with_it(made, late):
    """Made before the trial, the event names it; made after, it is quarantined at once."""
    fold = folded(*kept_change("c1", 1), *([] if late else made), *invalid("c1"))
    result = fold.next_event()
    assert result.commits == (("c1",) if late else ("c1", "c2"))
    assert result.heads == (ev.Fallback("a", "c1", "base"),)
    for event in [result, *(made if late else [])]:
        fold.apply(event)
    assert fold.commits == {"c1", "c2"}
    assert fold.next_event() is None


def test_an_invalid_stack_quarantines_none_of_its_parts():
    """Its parts were made before it, and each stands by its own trials."""
    made = ev.StackCheckAssembled(1, (1, 2), "c9", base="base")
    fold = folded(
        *kept_change("c1", 1), *kept_change("c2", 2, "b"), made, *invalid("c9", "promotion")
    )
    assert (fold.next_event().commits, fold.next_event().heads) == (("c9",), ())


def test_a_candidate_that_was_never_kept_causes_no_quarantine():
    """It fails, and nothing was built on it; nor does a null's keep make it a head."""
    proposed = kept_change("c1", 1)[:2]
    assert folded(*proposed, *invalid("c1")).next_event() is None
    null = dataclasses.replace(kept_change("c1", 1)[2], null=True)
    assert folded(*proposed, null, *invalid("c1")).next_event() is None


def test_a_quarantined_change_does_not_migrate():
    """Neither a kept change nor a near miss is offered to an island any more."""
    migrants, change = Migrants(), dataclasses.replace(MIGRANT, commit="c1")
    opened = [ev.IslandOpened(name, name, "base", "lab", Slice(name, "cpu")) for name in "ab"]
    for event in opened:
        migrants.apply(event)
    near = dataclasses.replace(change, experiment=3, origin=3, commit="c3")
    migrants.experiment_ended(1, "kept", "gain", change)
    migrants.experiment_ended(3, "discarded", f"{NEAR_MISS}: a bit", near)
    assert migrants.next_migrant("b", Migration("complete")) == change
    migrants.apply(ev.CommitQuarantined("t1", "c1", ("c1", "c3"), (), REASON))
    assert migrants.next_migrant("b", Migration("complete")) is None
