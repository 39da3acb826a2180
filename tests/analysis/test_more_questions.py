"""Migrations, transfer and the comparison of two runs, from one recorded run."""

import json
import math
from dataclasses import replace

import pytest
from click.testing import CliRunner

from analysis.questions.comparison import compare_runs, figures_of
from analysis.run import RecordedRun
from islands import events as ev
from islands.records import Gain
from swarm.cli import compare as compare_command
from swarm.cli import migrations as migrations_command
from swarm.cli import transfer as transfer_command
from swarm.cli.compare import compare


@pytest.fixture(scope="module")
def run(recorded):
    """Return the recorded run, opened once."""
    with RecordedRun(recorded) as opened:
        yield opened


@pytest.fixture(scope="module")
def figures(run):
    """Return its figures, without diffs."""
    return figures_of(run.connection, {})


def test_every_migrant_of_the_ledger_is_counted_once(run, history):
    """With its result and both gains; the sums leave out what was not measured."""
    events, _ = history
    offered = {e.experiment: e for e in events if isinstance(e, ev.MigrantOffered)}
    record = run.migrations()
    migrated = [one for one in record.attempts if one.mode == "migrated"]
    assert {one.experiment for one in migrated} == {*offered}
    assert sum(record.counts.values()) == len(record.attempts) > 0
    assert record.adoptions == sum(isinstance(e, ev.HeadAdopted) for e in events)
    for one in migrated:
        assert one.origin_gain.mean == offered[one.experiment].migrant.gain.mean
    measured = [one for one in record.attempts if one.gain]
    there, here = record.found_again
    assert math.isclose(here.mean, sum(one.gain.mean for one in measured))
    assert math.isclose(there.mean, sum(one.origin_gain.mean for one in measured))


def test_figures_are_those_of_the_state(figures, history):
    """The best head, its gain and what it took."""
    _, state = history
    best = max(state.islands.values(), key=state.gain)
    assert figures.head == best.head
    assert math.isclose(figures.gain.mean, state.gain(best), abs_tol=1e-12)
    assert (figures.trials, figures.nulls) == (state.trials, state.nulls.tried)
    assert figures.kept == len(state.keeps)


def test_gains_over_one_base_and_scores_over_two_are_compared(figures):
    """The noise of both; signed so that above zero the second run is better."""
    better = replace(figures, gain=Gain(figures.gain.mean + 1.0, 0.3, 0), run="b")
    found = compare_runs(replace(figures, gain=replace(figures.gain, noise=0.4)), better)
    assert (found.by, found.differs) == ("gain", "")
    assert math.isclose(found.difference.mean, 1.0)
    assert math.isclose(found.difference.noise, 0.5)
    lower = replace(figures, base="other", score=figures.score - 1.0, scores=4, sigma=0.2)
    found = compare_runs(replace(figures, scores=4, sigma=0.2), lower)
    assert found.by == "score"
    assert math.isclose(found.difference.mean, 1.0)  # lower is better
    assert math.isclose(found.difference.noise, 0.2 / math.sqrt(2))
    assert compare_runs(figures, replace(lower, score=None)).difference is None


def test_scores_of_another_harness_are_never_compared(figures):
    """It says what differs."""
    other = replace(figures, run="b", facts={**figures.facts, "harness": "new"})
    found = compare_runs(figures, other)
    assert found.difference is None
    assert found.differs == f"harness is {figures.facts['harness']} in lab and new in b"


def test_changes_that_are_alike_in_both_are_found(figures):
    """Whatever its numbers are."""
    one = replace(figures, changes={3: frozenset({"- X = #", "+ X = #"}), 4: frozenset()})
    other = replace(figures, changes={9: frozenset({"+ X = #", "- X = #"}), 8: frozenset()})
    assert compare_runs(one, other).both == ((3, 9),)


def test_what_a_promotion_found_is_told(run, history):
    """A run without one says so."""
    assert run.transfer().promotions == ()
    assert not any(isinstance(e, ev.PromotionStarted) for e in history[0])


@pytest.mark.parametrize(
    ("module", "name", "line"),
    [
        (migrations_command, "migrations", "brought to another island: "),
        (transfer_command, "transfer", "nothing was promoted yet"),
    ],
)
def test_commands_print_and_speak_json(monkeypatch, recorded, module, name, line):
    """Each is a thin caller."""
    folder = type("Folder", (), {"path": recorded})
    monkeypatch.setattr(module, "locate", lambda name: folder)
    command = getattr(module, name)
    printed = CliRunner().invoke(command, [], catch_exceptions=False)
    assert line in printed.output
    spoken = CliRunner().invoke(command, ["--json"], catch_exceptions=False)
    assert json.loads(spoken.output)


def test_compare_prints_both_runs(monkeypatch, recorded, figures):
    """And whether the difference is beyond noise."""
    folder = type("Folder", (), {"path": recorded})
    monkeypatch.setattr(compare_command, "locate", lambda name: folder)
    monkeypatch.setattr(RecordedRun, "figures", lambda self: figures)
    printed = CliRunner().invoke(compare, ["lab", "lab"], catch_exceptions=False)
    assert "lab less lab, by gain: " in printed.output
    assert printed.output.strip().endswith("within noise")
    spoken = CliRunner().invoke(compare, ["lab", "lab", "--json"], catch_exceptions=False)
    assert json.loads(spoken.output)["difference"]["mean"] == 0.0
