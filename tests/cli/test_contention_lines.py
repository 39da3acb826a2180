"""What a person is told of others on a slice: a mean of some seconds, no line for each trial."""

from harness.contract import Outcome
from islands import events as ev
from swarm.cli.contention_lines import FIRST_S, LONGEST_S, ContentionLines

START = ev.TrialStarted("t1", 0, "a", "c", "baseline", 1, 0, "cpu0")
COME = "cpu0: others take 40%; trials take 1.5 times as long"
GONE = "cpu0: has its cores to itself again"


def ended(budget, lost, taken):
    """Return the end of a trial of which others took something."""
    seconds, facts = {"budget": budget, "lost": lost}, {"foreign_cpu": taken}
    outcome = Outcome("t", "h", "namespaces", score=1.0, seconds=seconds, facts=facts)
    return ev.TrialEnded(START, outcome)


def told(trials):
    """Return the lines after `trials`, each with the number of trials before it."""
    lines = ContentionLines()
    said = [(number, lines.after(ended(*trial))) for number, trial in enumerate(trials, 1)]
    return [(number, line) for number, line in said if line]


BUSY, FREE = (0.25, 0.125, 0.4), (0.25, 0.0, 0.0)


def test_short_trials_that_alternate_are_told_of_once_as_their_mean():
    """Every second trial of 0.2 s takes twice as long, for a minute."""
    trials = [(0.25, 0.25, 0.8), (0.25, 0.0, 0.1)] * 100
    (only,) = told(trials)
    assert only == (27, "cpu0: others take 58%; trials take 1.5 times as long")


def test_a_change_is_told_after_some_seconds_of_trials_and_each_round_takes_twice_as_many():
    """Up to a limit: longer stretches than that are all told."""
    steps = [BUSY] * 27 + [FREE] * 40
    first, second, *_ = told(steps)
    assert (first, second) == ((27, COME), (67, GONE))
    assert FIRST_S <= 27 * 0.375 < FIRST_S + 0.375
    assert len(told(steps * 10)) <= 4
    long = [BUSY] * 4_000 + [FREE] * 6_000
    assert min(4_000 * 0.375, 6_000 * 0.25) > 2 * LONGEST_S
    assert [line == GONE for _, line in told(long * 20)] == [False, True] * 20


def test_trials_longer_than_that_are_told_of_one_by_one():
    """As long as they do not come and go again and again."""
    assert told([(10.0, 0.1, 0.01), (10.0, 5.0, 0.4), (10.0, 6.0, 0.5), (10.0, 0.0, 0.0)]) == [
        (2, COME),
        (4, GONE),
    ]


def test_each_slice_is_told_of_by_itself_and_a_trial_that_never_ran_says_nothing():
    """Its budget is zero."""
    lines = ContentionLines()
    other = ev.TrialStarted("t2", 0, "b", "c", "baseline", 1, 0, "cpu1")
    assert lines.after(ended(0.0, 20.0, 1.0)) == ""
    elsewhere = ev.TrialEnded(other, ended(10.0, 5.0, 0.4).outcome)
    assert lines.after(elsewhere) == COME.replace("cpu0", "cpu1")
