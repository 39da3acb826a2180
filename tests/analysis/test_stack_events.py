"""The stack events of the record: an ablation from them equals one from the whole ledger."""

from typing import get_args

import duckdb

from analysis import open_run
from analysis.database.projection import schema
from analysis.database.projection import stack_events as stack_events_of
from analysis.database.projection.project import project
from analysis.database.projection.stack_events import is_stack_event, stack_events
from analysis.questions.ablation import AblationFold
from harness.contract import SetupError
from islands.stacking.state import StackChecks
from tests.analysis.test_ablation import simulated
from tests.support.record import events_in
from tests.support.recorded_run import recorded_run


def folded(events):
    """Return the fold of events, and the ablation of every head and stack among them."""
    fold = AblationFold()
    for event in events:
        fold.take(event)
    commits = sorted({getattr(event, "commit", "") for event in events} - {""})
    return fold, {commit: ablation(fold, commit) for commit in commits}


def ablation(fold, commit):
    """Return the ablation of a commit, None where it holds no kept change."""
    try:
        return fold.ablation(commit)
    except SetupError:
        return None


def test_the_ablations_of_a_recorded_night_are_those_of_its_ledger(tmp_path):
    """Every head, the consensus, and what each change was kept on."""
    events = events_in(recorded_run(tmp_path))
    whole, expected = folded(events)
    with open_run(tmp_path) as run:
        found, ablations = folded(list(stack_events(run.connection)))
        assert run.ablation() in ablations.values()
    assert (found.consensus, found.lfsrs) == (whole.consensus, whole.lfsrs)
    assert ablations == {commit: expected[commit] for commit in ablations}
    assert {c for c, one in expected.items() if one} == {c for c, one in ablations.items() if one}


def test_the_ablations_of_checked_stacks_are_those_of_the_run(history):
    """With stack checks whose arms were measured, failed and voided, to the last bit."""
    for events in (simulated("strong", 3)[0].events, history[0]):
        with duckdb.connect() as con:
            schema.create(con)
            project(con, events)
            kept = list(stack_events(con))
        assert kept == [event for event in events if is_stack_event(event)]
        (whole, expected), (found, ablations) = folded(events), folded(kept)
        assert (found.consensus, found.lfsrs) == (whole.consensus, whole.lfsrs)
        assert any(ablations.values())
        assert {c: one for c, one in expected.items() if one} == {
            c: one for c, one in ablations.items() if one
        }


def test_no_event_that_a_stack_check_takes_in_is_left_out():
    """What the fold of stack checks listens to is told apart by class."""
    taken = {kind for kind in vars(StackChecks)["apply"].dispatcher.registry if kind is not object}
    named = is_stack_event.__code__.co_names
    assert {kind for kind in taken if kind.__name__ not in named} <= {
        *get_args(stack_events_of._Always)
    }
