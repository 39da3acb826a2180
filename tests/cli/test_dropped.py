"""A run of which a person dropped all that was kept: every command says so, and none counts it."""

import json
from itertools import groupby

import pytest
from click.testing import CliRunner

from analysis.dashboard.charts import progress_chart
from analysis.pictures.progress import progress
from analysis.run import RecordedRun
from harness.contract import SetupError
from swarm.cli.live import table
from swarm.cli.main import swarm
from swarm.project.runs import load_state, locate
from tests.support.recorded_run import recorded_run

LOST = "what was kept was dropped or quarantined"


@pytest.fixture(scope="module")
def dropped(tmp_path_factory):
    """Return the recorded run's repository after `swarm drop` of its kept changes."""
    repo = tmp_path_factory.mktemp("dropped")
    recorded_run(repo)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repo)
        for change in ("#36", "#48"):  # #55 is built on #36
            assert CliRunner().invoke(swarm, ["drop", change]).exit_code == 0
    return repo


@pytest.mark.parametrize(
    "words", [["measure", "--kept"], ["promote"], ["merge"], ["ablation"]], ids=" ".join
)
def test_a_command_that_needs_a_kept_change_says_where_it_went(dropped, monkeypatch, words):
    """Not that nothing was kept yet."""
    monkeypatch.chdir(dropped)
    with pytest.raises(SetupError, match=LOST):
        CliRunner().invoke(swarm, words, catch_exceptions=False, standalone_mode=False)


def test_a_stack_needs_two_that_are_left(dropped, monkeypatch):
    """None is."""
    monkeypatch.chdir(dropped)
    with pytest.raises(SetupError, match="needs two; others were dropped or quarantined"):
        CliRunner().invoke(swarm, ["stack"], catch_exceptions=False, standalone_mode=False)


def test_status_counts_what_was_dropped_as_quarantined(dropped, monkeypatch):
    """It did not fail."""
    monkeypatch.chdir(dropped)
    status = json.loads(CliRunner().invoke(swarm, ["status", "--json"]).output)
    counts = {row["island"]: row for row in status["islands"]}
    assert {name: row["kept_quarantined"] for name, row in counts.items()} == {"a": 2, "b": 1}
    assert {name: row["failed"] for name, row in counts.items()} == {"a": 8, "b": 14}
    assert "quarantined" in CliRunner().invoke(swarm, ["status"]).output


def test_usage_counts_as_kept_what_standings_do(dropped):
    """No change that was dropped."""
    with RecordedRun(dropped / ".swarm/run1") as run:
        assert run.sql("SELECT DISTINCT kept FROM usage").fetchall() == [(0,)]
        assert run.sql("SELECT DISTINCT kept FROM standings").fetchall() == [(0,)]


def test_the_progress_picture_has_each_head_as_long_as_it_was_one(dropped):
    """Both islands fall back to the base after the last experiment, not from the first on."""
    with RecordedRun(dropped / ".swarm/run1") as run:
        facts = progress(run.source)
    seen = {
        island: [(one["experiment"], round(one["score"], 4)) for one in heads]
        for island, heads in groupby(facts.heads, key=lambda one: one["island"])
    }
    base, last = 2.4713, facts.last
    assert seen["a"] == [(36, 2.2073), (55, 2.0656), (last, base)]
    assert seen["b"] == [(48, 2.3022), (65, 2.0656), (last, base)]
    assert {row["ending"] for row in facts.tried if row["experiment"] == 36} == {"quarantined"}


def test_the_page_has_each_head_as_long_as_it_was_one(dropped):
    """It stands where the picture has it, unmarked: the run does not claim it."""
    with RecordedRun(dropped / ".swarm/run1") as run:
        chart, heads = progress_chart(run.source), progress(run.source).heads
    for island in chart["islands"]:
        (first, *steps, last) = island["steps"]
        own = [head for head in heads if head["island"] == island["island"]]
        assert [(s["x"], s["y"]) for s in steps] == [(h["experiment"], h["score"]) for h in own]
        assert len(steps) >= 2
        assert last["y"] == first["y"]
        assert not any("gain" in step for step in steps)


def test_the_page_marks_what_is_kept(tmp_path):
    """With its gain, on its own island's line; #48 was left behind when b adopted a's head."""
    recorded_run(tmp_path)
    with RecordedRun(tmp_path / ".swarm/run1") as run:
        chart = progress_chart(run.source)
    marked = {
        s["experiment"]: s["gain"] for i in chart["islands"] for s in i["steps"] if "gain" in s
    }
    assert set(marked) == {36, 55}
    assert all(marked.values())


def test_a_launchs_last_table_counts_as_status_does(dropped, monkeypatch):
    """What was dropped stands under quarantined, and not among what got no verdict."""
    monkeypatch.chdir(dropped)
    columns = table(load_state(locate(None))).columns
    cells = {column.header: [cell.plain for cell in column.cells] for column in columns}
    status = json.loads(CliRunner().invoke(swarm, ["status", "--json"]).output)
    rows = {row["island"]: row for row in status["islands"]}
    ended = [rows[name] for name in cells["island"]]
    assert cells["kept"] == [str(row["kept"]) for row in ended]
    assert cells["quarantined"] == [str(row["kept_quarantined"]) for row in ended]
    no_verdict = [row["failed"] + row["refused"] + row["outdated"] for row in ended]
    assert cells["no verdict"] == [str(count) for count in no_verdict]
