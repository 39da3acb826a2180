"""A run of whose consensus one part is dropped: every command reads the same of it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from analysis.ledger import Ledger
from analysis.run import RecordedRun
from harness.contract import SetupError
from islands import events as ev
from islands.records import Gain
from swarm.cli.main import swarm
from swarm.cli.next_step import Results
from swarm.project.runs import load_state, locate
from swarm.results.selection import next_promotion, select
from tests.support.recorded_run import recorded_run

PARTS = (36, 55, 48)
STACK, CONSENSUS = "5" * 40, "c" * 40
GAIN = Gain(0.5, 0.01, 4, 0.001)


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """Return the recorded run's repository, its three kept changes checked as one stack."""
    repo = tmp_path_factory.mktemp("checked")
    base = recorded_base(recorded_run(repo))
    sums = (GAIN, GAIN, Gain(0.0, 0.01, 4))
    record(
        repo,
        ev.StackCheckStarted(1, base, PARTS),
        ev.StackCheckAssembled(1, PARTS, STACK, base=base),
        ev.StackCheckEnded(1, "additive", STACK, PARTS, (), (), *sums, gain=GAIN),
    )
    return repo


@pytest.fixture
def dropped(checked, tmp_path, monkeypatch):
    """Return a copy of it in which the stack is the consensus, and #55 is dropped."""
    repo = copied(checked, tmp_path, monkeypatch)
    base = recorded_base(repo / ".swarm/run1")
    ended = (1, 1, base, STACK, PARTS, "transfers", "it gains there", GAIN, GAIN)
    record(
        repo,
        ev.PromotionStarted(1, 1, base, STACK, PARTS, GAIN, (), 4, 32, stack=1),
        ev.PromotionEnded(*ended),
        ev.ConsensusMoved(1, base, "", CONSENSUS, PARTS, (CONSENSUS,)),
    )
    assert f"consensus {CONSENSUS[:10]}: 3 changes, not merged yet" in said("status")
    said("drop", "#55")
    return repo


def copied(repo, tmp_path, monkeypatch):
    """Copy a repository, and work in the copy."""
    copy = Path(shutil.copytree(repo, tmp_path / "repo", symlinks=True))
    monkeypatch.chdir(copy)
    return copy


def recorded_base(folder):
    """Return the commit that the run in `folder` started from."""
    with RecordedRun(folder) as run:
        return run.opened["base"]


def record(repo, *events, at=1_900_000_000.0):
    """Append events to the ledger of a repository's run, all recorded at one time."""
    with Ledger.open(repo / ".swarm/run1", lambda: at) as ledger:
        ledger.extend(events)


def said(*words):
    """Return what a command prints."""
    result = CliRunner().invoke(swarm, words, catch_exceptions=False, standalone_mode=False)
    return result.output


def test_no_command_offers_a_quarantined_consensus(dropped):
    """The result is the best head that is left; the next step leads to a promotion of it."""
    status = said("status")
    for gone in ("consensus", "promotion 1", "stack check 1"):
        assert gone not in status
    assert "next: `swarm report` (what was found), `swarm promote`, then `swarm merge`" in status
    facts = json.loads(said("status", "--json"))
    assert [facts[name] for name in ("stack", "promotion", "consensus")] == [None] * 3
    head = load_state(locate(None)).islands["a"].head
    said("report", "--out", "report.md")
    report = Path("report.md").read_text()
    assert f"The result, `{head[:10]}` with 1 change" in report
    assert json.loads(said("ablation", "--json"))["commit"] == head
    with pytest.raises(SetupError, match="no consensus"):
        said("ablation", "consensus")


def test_what_is_left_can_be_promoted_and_merged(dropped):
    """`swarm merge` says what became of the consensus; the head it names is no dead end."""
    state = load_state(locate(None))
    head = state.islands["a"].head
    with pytest.raises(SetupError, match="what was promoted last is quarantined, a person dropped"):
        select(state, "", force=False)
    assert select(state, "", force=True).head == head
    assert next_promotion(state).commit == head
    assert {claim.experiment for claim in state.stacks.claimed} == {36, 48}


def test_a_stack_dropped_before_its_promotion_is_not_promoted(checked, tmp_path, monkeypatch):
    """The best head is, and may be merged as it is."""
    copied(checked, tmp_path, monkeypatch)
    assert next_promotion(load_state(locate(None))).commit == STACK
    said("drop", "#55")
    state = load_state(locate(None))
    head = state.islands["a"].head
    assert next_promotion(state).commit == select(state, "", force=True).head == head


def test_a_stack_of_which_nothing_is_left_is_not_shown_again(dropped):
    """Its result would name `swarm promote` as the next step."""
    del dropped
    for change in ("#36", "#48"):
        said("drop", change)
    with pytest.raises(SetupError, match="a stack needs two; others were dropped"):
        said("stack")


def test_the_record_tells_what_was_measured_and_that_it_is_quarantined(dropped):
    """Rows of stacks, promotions and the consensus stay, with the time of the quarantine."""
    with RecordedRun(dropped / ".swarm/run1") as run:
        ((when,),) = run.sql("SELECT quarantined FROM nodes WHERE experiment = 55").fetchall()
        for table in ("stacks", "promotions", "consensus"):
            assert run.sql(f"SELECT parts, quarantined FROM {table}").fetchall() == [
                ([*PARTS], when)
            ]
    assert "stack check 1" in said("why", "#36", "--no-diff")


@pytest.mark.parametrize(
    ("after_keep", "measured", "drop", "expected"),
    [
        (-0.001, (36, 48), "", True),  # proposed before, kept after
        (0.001, (36, 48), "", False),  # kept before the consensus was built, though not in it
        (-0.001, PARTS, "", False),  # a promotion has measured it
        (-0.001, (36, 48), "#55", False),  # it is dropped
    ],
)
def test_a_launch_and_status_name_the_same_next_step(  # noqa: PLR0913, PLR0917
    checked, tmp_path, monkeypatch, after_keep, measured, drop, expected
):
    """A change counts as kept since the consensus by when it was kept, in the state and the record.

    #55 is the change, and the consensus is built so many seconds after it was kept.
    """
    repo = copied(checked, tmp_path, monkeypatch)
    base = recorded_base(repo / ".swarm/run1")
    with RecordedRun(repo / ".swarm/run1") as run:
        ((kept,),) = run.sql("SELECT epoch(ended) FROM nodes WHERE experiment = 55").fetchall()
    record(
        repo,
        ev.PromotionStarted(1, 1, base, "6" * 40, measured, GAIN, (), 4, 32),
        ev.PromotionEnded(1, 1, base, "6" * 40, measured, "transfers", "it gains", GAIN, GAIN),
        ev.ConsensusMoved(1, base, "", CONSENSUS, (36, 48), (CONSENSUS,)),
        at=kept + after_keep,
    )
    if drop:
        said("drop", drop)
    assert newer() == (expected, expected)


def newer():
    """Return whether something was kept since the consensus: by the state, and by the record."""
    by_state = Results.of_state(load_state(locate(None)))
    facts = json.loads(said("status", "--json"))
    by_record = Results.of_facts(facts)
    assert replace(by_state, newer=by_record.newer) == by_record
    return by_state.newer, by_record.newer
