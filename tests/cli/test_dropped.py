"""A run of which a person dropped all that was kept: every command says so, and none counts it."""

import json

import pytest
from click.testing import CliRunner

from analysis.run import RecordedRun
from harness.contract import SetupError
from swarm.cli.main import swarm
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
