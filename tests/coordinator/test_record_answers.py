"""Answers to agents that ask what was tried, and whether their files could be proposed."""

import asyncio
from dataclasses import replace

import pytest

from harness.contract import Preflight
from islands.records import Entry
from swarm.coordinator.brief import Briefer
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.record_answers import MAX_ANSWER_CHARS, RecordAnswers, fitting
from swarm.coordinator.task_tree import run_islands
from swarm.simulation.virtual_time import run_virtual
from tests.support.herding import HerdingModel, KnobBranches, KnobExecutor
from tests.support.laboratory import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished night of herding models; asked after it, as if in its middle."""

    async def main():
        knobs = KnobBranches()
        run = make_run(
            tmp_path_factory.mktemp("night"),
            branches=knobs,
            executor=KnobExecutor(knobs),
            agents={f"i{n}": HerdingModel() for n in range(2)},
            islands=2,
            limits=RunLimits(trials=24, minutes=600),
        )
        await run_islands(run)
        return run

    return run_virtual(main())


def tried(run, words):
    """Return the answer to a search."""
    return asyncio.run(RecordAnswers(run).tried(words))


def test_a_search_tells_ending_and_rounded_gain(run):
    """Of what was measured, the latest first; by words of the hypothesis, whatever their case."""
    ended = next(one for one in run.state.attempts if one.attempt.gain)
    word = ended.attempt.hypothesis.split()[-1]
    answer = tried(run, word.upper())
    assert f"#{ended.attempt.experiment} on island {ended.attempt.island}: " in answer
    assert ended.attempt.ending in answer
    assert repr(ended.attempt.gain.mean) not in answer
    assert tried(run, "no such words") == "nothing like this was tried in this run"
    assert "give one word" in tried(run, " | ")


def test_a_search_reads_changed_lines(run, monkeypatch):
    """A candidate whose hypothesis hides what it changes is found by its diff."""
    diff = "--- a/OLD\n+++ b/NEW\n@@\n kept = 1\n-gamma = 1\n+gamma = 2\n"
    monkeypatch.setattr(
        KnobBranches, "diffs", lambda _, pairs: {new: diff for _, new in pairs}, raising=False
    )
    held = next(one for one in run.state.attempts if one.commit)
    assert f"#{held.attempt.experiment} " in tried(run, "GAMMA 2")
    for word in ("kept = 1", "b/new"):
        assert tried(run, word) == "nothing like this was tried in this run"


def test_no_words_take_long(run):
    """What would keep a regular expression busy for ever is a word like others."""
    for words in ("(a+)+$" * 30, "a" * 100_000, "|" * 5_000, ".*" * 90):
        assert len(tried(run, words)) <= MAX_ANSWER_CHARS
    assert fitting("Warmup STEPS | decay")("longer warmup of 20 steps")
    assert not fitting("warmup steps")("warmup")


def preflight(run, files, **more):
    """Return the answer to a preflight of changed files on the first island's head."""
    name = run.launch.islands[0].name
    brief = Briefer(run.branches.files, "").brief(run.state, name, 900)
    return asyncio.run(RecordAnswers(run).preflight(replace(brief, **more), files))


class Preflights:
    """Preflights that fail."""

    available = True

    async def check(self, trial):
        return Preflight(ok=False, reason="NameError", tail="line 1")


def test_a_preflight_tells_what_admission_would(run, monkeypatch):
    """And records nothing."""
    events = len([*run.ledger.events()])
    head = run.state.islands[run.launch.islands[0].name].head
    path = next(iter(run.branches.files(head)))
    text = run.branches.files(head)[path].data.decode()
    new = {path: Entry((text + "ZETA = 12.5\n").encode())}
    assert preflight(run, {}) == "nothing is changed"
    assert preflight(run, {path: Entry(b"def (\n")}).startswith("refused: ")
    assert preflight(run, {"elsewhere.py": Entry(b"x = 1\n")}).startswith("refused: ")
    assert preflight(run, {"../../etc/passwd": Entry(b"x")}).startswith("refused: ")
    assert preflight(run, new).startswith("may be proposed")
    monkeypatch.setattr(run, "preflights", Preflights())
    assert preflight(run, new) == "its preflight failed: NameError\nline 1"
    assert len([*run.ledger.events()]) == events


def test_a_preflight_answers_a_repeat(run):
    """So an agent that asks first does not propose what was refuted."""
    past = next(
        one for one in run.state.attempts if one.attempt.ending == "discarded" and one.commit
    )
    files = run.branches.files(past.commit)
    before = run.branches.files(past.parent)
    changed = {path: entry for path, entry in files.items() if before.get(path) != entry}
    told = preflight(run, changed, head=past.parent)
    assert told.startswith(f"refused: tried as #{past.attempt.experiment} on this very head")


def test_invalid_results_are_called_so(run, monkeypatch):
    """A quarantined commit's gain is not shown."""
    one = next(one for one in run.state.attempts if one.attempt.gain and one.commit)
    monkeypatch.setattr(run.state.quarantines, "commits", {one.commit})
    word = one.attempt.hypothesis.split()[-1]
    line = next(
        line
        for line in tried(run, word).splitlines()
        if line.startswith(f"#{one.attempt.experiment} ")
    )
    assert "found invalid later" in line
    assert "gain" not in line


def test_a_void_experiment_is_forgotten(run):
    """As if it had not run."""
    number = next(iter(run.state.attempts)).attempt.experiment
    held = len(run.state.attempts)
    run.state.attempts.drop({number})
    assert len(run.state.attempts) == held - 1
