"""The live view has a line for each event of interest and a column for each ending."""

import io
import re

import pytest
from rich.console import Console

from harness.contract import Outcome
from islands import events as ev
from islands.ratchet.policy import RatchetPolicy
from islands.records import NULL
from islands.state.run_state import State
from swarm.cli.event_log import base_score, describe
from swarm.cli.live import LiveView, cost_of_disturbance, table
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_islands
from swarm.simulation.virtual_time import run_virtual
from tests.support.histories import lived
from tests.support.laboratory import make_run

SILENT = {ev.IslandOpened, ev.AgentCallStarted, ev.ProposalReceived, ev.TrialStarted}
"""Events of which a person sees nothing: others follow that say what became of them."""


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """Each event of a run in which everything fails once, with its line and the state then."""
    history, _ = lived(tmp_path_factory.mktemp("run"), 60)
    state, described = State(), []
    for event in history:
        state.apply(event)
        described.append((event, describe(event, state)))
    return described, state


def test_each_event_has_one_line_or_is_silent(lines):
    """No line is empty or broken, whatever an agent wrote into its hypothesis."""
    described, _ = lines
    assert {type(event) for event, line in described if not line} <= SILENT
    assert len({type(event) for event, line in described if line}) > 8
    assert not any("\n" in line for _, line in described)


def test_a_verdict_says_gain_and_noise(lines):
    """KEPT and discarded, the gain ± its standard error, and the reason."""
    described, _ = lines
    verdicts = [(event, line) for event, line in described if isinstance(event, ev.VerdictReached)]
    assert {event.verdict for event, _ in verdicts} == {"keep", "discard"}
    for event, line in verdicts:
        assert ("KEPT" in line) == (event.verdict == "keep")
        assert "gain " in line
        assert " ± " in line
        assert event.reason in line


def test_a_migrant_has_its_hypothesis_and_says_where_it_comes_from(lines):
    """Both where it is offered and where it is a candidate, with its commit and its lines."""
    described, _ = lines
    offers = {e.experiment: e for e, _ in described if isinstance(e, ev.MigrantOffered)}
    admitted = [
        (event, line)
        for event, line in described
        if isinstance(event, ev.CandidateAdmitted) and event.experiment in offers
    ]
    assert len(admitted) > 2
    for event, line in admitted:
        migrant = offers[event.experiment].migrant
        begins = f"{event.island} #{event.experiment} {event.commit[:8]} (+1 -1 lines), change"
        assert line == f"{begins} #{migrant.experiment} of {migrant.island}: {migrant.hypothesis}"
        assert migrant.hypothesis and migrant.island != event.island


def test_the_table_counts_every_ending_and_fits_80_columns(lines):
    """What was not kept is discarded, or got no verdict; no heading and no number is cut."""
    _, state = lines
    out = io.StringIO()
    Console(file=out, width=80).print(table(state))
    title, headings, *_ = out.getvalue().splitlines()
    for heading in ("island", "score", "gain", "trials", "kept", "discarded", "no verdict", "busy"):
        assert heading in headings
    assert state.run.metric in title
    ended = sum(sum(island.endings.values()) for island in state.islands.values())
    grid = table(state)
    counted = [c for c in grid.columns if str(c.header) in ("kept", "discarded", "no verdict")]
    assert sum(int(str(cell)) for column in counted for cell in column.cells) == ended > 0
    assert any(island.endings.get("failed") for island in state.islands.values())
    assert "…" not in "".join(str(cell) for column in grid.columns[:-1] for cell in column.cells)


def test_without_a_terminal_lines_are_printed_with_the_time(lines):
    """Each begins with hours, minutes and seconds since the launch."""
    described, state = lines
    out = io.StringIO()
    view = LiveView(Console(file=out, width=300))
    for event, _ in described:
        view(event, state)
    printed = out.getvalue().splitlines()
    starts = [e for e, _ in described if isinstance(e, ev.TrialEnded) and base_score(e, state)]
    assert len(printed) == sum(bool(line) for _, line in described) + len(starts)
    assert all(re.match(r"\d:\d\d:\d\d  \S", line) for line in printed)


def test_others_on_a_slice_are_told_within_one_trial_and_once(lines):
    """A line when they come, one when they have gone, and a summary of what they took."""
    described, _ = lines
    started = next(event.started for event, _ in described if isinstance(event, ev.TrialEnded))
    out, state = io.StringIO(), State()
    view = LiveView(Console(file=out, width=300))

    def trial(lost, taken):
        seconds = {"budget": 10.0, "lost": lost}
        outcome = Outcome(
            "t", "h", "namespaces", score=1.0, seconds=seconds, facts={"foreign_cpu": taken}
        )
        event = ev.TrialEnded(started, outcome)
        state.contention.ended(event)
        view(event, state)

    for lost, taken in ((0.1, 0.01), (8.0, 0.45), (9.0, 0.47), (0.0, 0.01)):
        trial(lost, taken)
    printed = [line.split("  ", 1)[1] for line in out.getvalue().splitlines()]
    name = started.slice
    told = [line for line in printed if line.startswith(f"{name}: ")]
    assert told == [
        f"{name}: others take 45%; trials take 1.8 times as long",
        f"{name}: has its cores to itself again",
    ]
    assert sum("(10.0 s, others took 8.0 s more)" in line for line in printed) == 1
    state.voids.voided(
        ev.TrialVoided(started, "SIGKILL ended it", "signal", 60.0 + started.recorded),
        base="base",
    )
    void, lost = cost_of_disturbance(state)
    assert void == "void and run again: 1 ended by a signal from outside; 60 s of trials"
    assert lost.startswith("others took 17 s of the trials' time, which took 1.4 times as long")


def test_the_start_is_told_once_with_its_noise(lines):
    """When the last baseline trial has ended, on a terminal too."""
    described, final = lines
    state, told = State(), []
    for event, _ in described:
        state.apply(event)
        if isinstance(event, ev.TrialEnded) and (line := base_score(event, state)):
            told.append(line)
    assert len(told) == 1
    assert re.fullmatch(r"the base scores \d\.\d+ ± 0\.\d+ on 4 seeds", told[0])
    assert told[0].split()[3] in str(table(final).title)


def test_a_trial_names_what_it_ran(lines):
    """The candidate's number, the head's side of a pair, or a commit."""
    described, _ = lines
    trials = [(e.started, line) for e, line in described if isinstance(e, ev.TrialEnded)]
    heads = [s for s, line in trials if "of the head" in line]
    assert heads and {s.purpose for s in heads} == {"confirm"}
    assert all(f"#{s.experiment} " in line for s, line in trials if s.experiment)


def test_a_null_control_is_called_an_a_a_test(tmp_path):
    """It changes a comment, and is no idea of anybody's."""
    ratchet = RatchetPolicy(null_rate=0.5)

    async def main():
        run = make_run(tmp_path, ratchet=ratchet, limits=RunLimits(trials=30))
        said = []
        run.watch = lambda event, state: said.append((event, describe(event, state)))
        await run_islands(run)
        return said

    said = run_virtual(main())
    nulls = {e.experiment for e, _ in said if getattr(e, "agent", "") == NULL}
    kinds = ev.CandidateAdmitted | ev.VerdictReached
    lines = [(e.experiment in nulls, line) for e, line in said if isinstance(e, kinds)]
    assert {null for null, _ in lines} == {True, False}
    assert all(("A/A test" in line) == null for null, line in lines)
