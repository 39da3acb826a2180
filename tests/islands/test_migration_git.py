"""Verdicts on migrants on real git: kept, adopted, in conflict, ported, resumed."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from islands import events as ev
from islands.records import Change, Entry, Gain
from swarm.agents.base import AgentError
from swarm.agents.llm.prompt import NUDGES, render
from swarm.agents.mutator import Mutator
from tests.support.laboratory import MemoryLedger
from tests.support.migrations import (
    EXTRA,
    START,
    TRAIN,
    TRAINED,
    conduct,
    deletes,
    puts,
    renames,
    results,
    texts,
)
from tests.support.mutator import brief
from tests.support.repository import git, make

CASES = {
    "lines apart": (
        (puts(TRAINED, "A = 1", "A = 2"), puts(TRAINED, "E = 1", "E = 2")),
        ["keep"],  # by the island that is first offered the other's; the other then adopts its head
    ),
    "adjacent lines": (
        (puts(TRAINED, "A = 1", "A = 2"), puts(TRAINED, "B = 1", "B = 2")),
        ["conflict", "conflict"],
    ),
    "the same line": (
        (puts(TRAINED, "A = 1", "A = 2"), puts(TRAINED, "A = 1", "A = 3")),
        ["conflict"],  # none can port it: one of the two heads is adopted by both
    ),
    "the same line alike": (
        (puts(TRAINED, "A = 1", "A = 2"), puts(TRAINED, "A = 1", "A = 2")),
        [],  # one island tries it; the other is told so, and adopts its head
    ),
    "the same line alike, without memory": (
        (puts(TRAINED, "A = 1", "A = 2"), puts(TRAINED, "A = 1", "A = 2")),
        ["present", "present"],
    ),
    "one renames what the other edits": (
        (renames(EXTRA, "genome/moved.py", "X = 1", "X = 2"), puts(EXTRA, "V = 1", "V = 2")),
        ["keep"],  # by the island that is first offered the other's; the other then adopts its head
    ),
    "one deletes what the other edits": (
        (deletes(EXTRA), puts(EXTRA, "V = -1", "V = 2")),
        ["conflict", "conflict"],
    ),
}


def repository(tmp_path, case):
    """Make the repository that a case begins with."""
    files = dict(START)
    if "deletes" in case:
        files[EXTRA] = files[EXTRA].replace("1", "-1")
    return make(tmp_path / "repo", files)


@pytest.mark.parametrize("case", CASES)
def test_changes_of_two_islands_meet_and_get_the_right_verdict(tmp_path, case):
    """No case stops the run, refs and ledger agree, and a change that works on both is on both."""
    ideas, wanted = CASES[case]
    repo = repository(tmp_path, case)
    run = conduct(repo, ideas, remembers="without memory" not in case)
    assert list(results(run).values()) == wanted
    assert run.state.trials == 44
    for name, island in run.state.islands.items():
        assert git(repo, "rev-parse", f"refs/heads/swarm/lab/{name}") == island.head
    held = git(repo, "for-each-ref", "--format=%(objectname)", "refs/swarm/lab/tried").split()
    candidates = [e.commit for e in run.ledger.kept if isinstance(e, ev.CandidateAdmitted)]
    assert sorted(held) == sorted(candidates)
    if wanted in (["keep"], [], ["conflict"]):
        assert texts(run, "i0") == texts(run, "i1") != START
    if not wanted:
        kept = [e for e in run.ledger.kept if isinstance(e, ev.VerdictReached)]
        assert [e.island for e in kept if e.verdict == "keep"] == ["i0"]
    if "renames" in case:
        assert texts(run, "i1")["genome/moved.py"] == "X = 2\nY = 1\nZ = 1\nW = 1\nV = 2\n"


def test_a_conflict_becomes_a_port_task_with_both_sides_once(tmp_path):
    """The agent sees the change and its own head; its answer is judged, and adopted elsewhere."""

    def port(brief, times):
        assert brief.port.before[TRAINED] == TRAIN
        assert brief.genome[TRAINED] != TRAIN
        if times == 1:
            return AgentError("rate", "slow down", retry_after=30.0)
        text = brief.genome[TRAINED]
        for line in ("A = ", "B = "):
            text = text.replace(f"{line}1", f"{line}2")
        return {TRAINED: Entry(text.encode())}

    ideas, _ = CASES["adjacent lines"]
    run = conduct(repository(tmp_path, ""), ideas, port)
    assert (
        texts(run, "i0")[TRAINED]
        == texts(run, "i1")[TRAINED]
        == TRAIN.replace("A = 1\nB = 1", "A = 2\nB = 2")
    )
    ported = [e for e in run.ledger.kept if isinstance(e, ev.ProposalReceived) and e.origin]
    assert [e.island for e in ported] == ["i1"]
    failures = [e for e in run.ledger.kept if isinstance(e, ev.AgentFailed) and e.origin]
    assert [(e.island, e.error_kind) for e in failures] == [("i1", "rate")]
    adopted = [e for e in run.ledger.kept if isinstance(e, ev.HeadAdopted)]
    assert [(e.island, e.source) for e in adopted] == [("i0", "i1")]
    for island in run.state.islands.values():
        assert len({kept.origin for kept in island.kept}) == len(island.kept) == 2


def test_a_conflict_that_cannot_be_ported_is_recorded_and_asked_once(tmp_path):
    """One answer ends the port, whatever it is; then both go on from the better head."""
    ideas, _ = CASES["the same line"]
    run = conduct(repository(tmp_path, ""), ideas)
    failed = [e for e in run.ledger.kept if isinstance(e, ev.AgentFailed)]
    assert Counter((e.island, bool(e.origin)) for e in failed) == {("i1", True): 1}
    assert [len(agent.ports) for agent in run.agents.values()] == [0, 1]
    assert not run.state.migrants.ports
    assert texts(run, "i0") == texts(run, "i1") != START


def test_the_mutator_ports_values_and_gives_up_if_none_fits():
    """It matches values in the syntax tree, where git sees conflicting lines."""
    head = {"train.py": "def f():\n    a = 0.5\n    b = 3.0\n    return a * b\n"}
    before = {"train.py": head["train.py"].replace("3.0", "1.0")}
    gain = Gain(0.1, 0.01, 2)
    value = {"train.py": before["train.py"].replace("0.5", "0.7")}
    port_brief = replace(brief(head), port=Change(4, "b", "more a", gain, before, value))
    (entry,) = asyncio.run(Mutator().propose(port_brief)).files.values()
    assert entry.data.decode() == head["train.py"].replace("0.5", "0.7")
    body = {"train.py": "def f():\n    c = 1\n    return [c for _ in range(3)]\n"}
    port_brief = replace(brief(head), port=Change(4, "b", "another way", gain, before, body))
    with pytest.raises(AgentError, match="does not fit"):
        asyncio.run(Mutator().propose(port_brief))


def test_a_port_prompt_shows_the_change():
    """It has the diff, the hypothesis and the instruction, and no nudge."""
    before, after = {"train.py": "a = 1\n"}, {"train.py": "a = 2\n"}
    port = Change(4, "b", "Double a", Gain(0.1, 0.01, 2), before, after)
    plain = render(brief({"train.py": "a = 5\n"})).request
    shown = render(replace(brief({"train.py": "a = 5\n"}), port=port)).request
    assert "-a = 1\n+a = 2" in shown
    assert '"Double a"' in shown
    assert "Make that change to the files above" in shown
    assert not any(nudge in shown for nudge in NUDGES)
    assert any(nudge in plain for nudge in NUDGES)


# killed runs


def test_a_migration_that_is_killed_anywhere_resumes_to_the_same_end(tmp_path):
    """After any event, with the refs as they were then or just before the next event."""
    ideas, _ = CASES["lines apart"]
    repo, shots = repository(tmp_path, ""), []
    short = {"trials": 30, "topology": "star"}

    def refs():
        prefixes = ("refs/heads/swarm", "refs/swarm")
        listed = git(repo, "for-each-ref", "--format=%(refname) %(objectname)", *prefixes)
        return dict(line.split(" ") for line in listed.splitlines())

    whole = conduct(repo, ideas, watch=lambda *_: shots.append(refs()), **short)
    events = whole.ledger.kept
    (begun,) = (n for n, event in enumerate(events) if isinstance(event, ev.MigrantOffered))
    number = events[begun].experiment
    mine = [n for n, event in enumerate(events) if getattr(event, "experiment", 0) == number]
    for cut in sorted({n + 1 for n in mine} | {mine[-1] + 2}):
        for then in [shots[cut - 1], shots[cut]][shots[cut - 1] == shots[cut] :]:
            deletes = "".join(f"delete {ref}\n" for ref in refs() if ref not in then)
            updates = "".join(f"update {ref} {commit}\n" for ref, commit in then.items())
            git(repo, "update-ref", "--stdin", stdin=(deletes + updates).encode())
            run = conduct(repo, ideas, ledger=MemoryLedger(events[:cut]), **short)
            assert results(run) == results(whole) == {"i0": "keep"}
            for name, island in run.state.islands.items():
                assert texts(run, name) == texts(whole, name)
                assert refs()[f"refs/heads/swarm/lab/{name}"] == island.head


# program.md
