"""The evidence of scores, verified or reported, wherever a run is shown or merged."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from analysis.database.queries import answer
from analysis.database.refresh import reading
from islands import events as ev
from islands.state.run_state import State
from swarm.cli.lineage import lineage
from swarm.cli.status import status
from swarm.cli.why import why
from swarm.project import runs
from swarm.results.merge_message import describe, merge_message
from swarm.results.selection import MergePlan
from tests.support.record import write
from tests.support.repository import make


def as_reported(event, chosen):
    """Return an event of a run whose scores, of the trials `chosen`, were only reported."""
    if isinstance(event, ev.RunOpened):
        return replace(event, evidence="reported")
    if isinstance(event, ev.TrialEnded) and chosen(event.started):
        return replace(event, outcome=replace(event.outcome, evidence="reported"))
    return event


def folded(events):
    """Return the state that events lead to."""
    state = State()
    for event in events:
        state.apply(event)
    return state


@pytest.fixture(scope="module")
def first_kept(history):
    """Return the number of an experiment that was kept, and its commit."""
    change = next(iter(history[1].keeps.values()))
    return change.experiment, change.commit


def test_one_reported_score_makes_the_evidence_of_a_run_reported(history, first_kept):
    """The weakest counts; a trial that failed has no score and no evidence."""
    events, state = history
    assert state.evidence == "verified"
    _, commit = first_kept
    weak = folded(as_reported(event, lambda trial: trial.commit == commit) for event in events)
    assert weak.evidence == "reported"
    failed = {e.started.trial for e in events if isinstance(e, ev.TrialEnded) and e.outcome.failure}
    assert failed
    changed = (as_reported(event, lambda trial: trial.trial in failed) for event in events)
    assert folded(changed).evidence == "verified"


@pytest.fixture
def run(tmp_path, monkeypatch, history, first_kept):
    """Return a repository with a run in which the scores of one change were only reported."""
    repo = make(tmp_path / "repo", {"x": "1\n"})
    monkeypatch.chdir(repo)
    folder = runs.create(repo, "lab")
    events = [as_reported(e, lambda trial: trial.commit == first_kept[1]) for e in history[0]]
    write(folder.path, events)
    return folder


def test_views_status_and_lineage_say_which_scores_were_reported(run, first_kept):
    """By experiment, by kept change, and for the run, in tables and as JSON."""
    experiment, commit = first_kept
    with reading(run.path) as con:
        for view, own in (
            ("experiments", f"experiment = {experiment}"),
            ("kept", f"commit = '{commit}'"),
            ("trials", f"commit = '{commit}'"),
        ):
            sql = f"SELECT DISTINCT {own}, evidence FROM {view} WHERE score IS NOT NULL"
            assert set(answer(con, sql).rows) == {(True, "reported"), (False, "verified")}, view
    shown = CliRunner().invoke(status, [])
    assert "imize, reported)" in shown.output
    facts = json.loads(CliRunner().invoke(status, ["--json"]).output)
    assert facts["run"]["evidence"] == "reported"
    graph = json.loads(CliRunner().invoke(lineage, ["--json"]).output)
    assert [n["evidence"] for n in graph["nodes"] if n["id"] == commit] == ["reported"]


@pytest.mark.parametrize("reported", [True, False])
def test_the_merge_plan_and_its_trailers_say_it(history, first_kept, reported):
    """The plan in words, the commit as a trailer."""
    events = history[0]
    state = folded(as_reported(e, lambda trial: True) if reported else e for e in events)
    change = state.keeps[first_kept[0]]
    plan = MergePlan(change.commit, change.parent, (), change.gain, change.island, forced=True)
    evidence = "reported" if reported else "verified"
    assert f"Evidence: {evidence}, " in describe(state, plan, (1, 1))
    assert "UNCONFINED" not in describe(state, plan, (1, 1))
    state.weakest_sandbox = "none"
    assert "\nUNCONFINED: scores were made with --sandbox none" in describe(state, plan, (1, 1))
    message = merge_message(state, plan, (1, 1), "1:0")
    assert f"\nSwarm-Evidence: {evidence}\n" in message


def test_a_change_names_the_brief_that_it_answers(run, history, first_kept):
    """`swarm why` prints the digest of the brief, and --json holds it."""
    assert run.path.exists()
    asked = (e for e in history[0] if isinstance(e, ev.ProposalReceived))
    (brief,) = (event.brief for event in asked if event.experiment == first_kept[0])
    words = [f"#{first_kept[0]}", "--no-diff"]
    assert f" from brief {brief};" in CliRunner().invoke(why, words).stdout
    assert brief
    assert json.loads(CliRunner().invoke(why, [*words, "--json"]).stdout)["brief"] == brief
