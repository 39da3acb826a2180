"""The live view has a line for each event of interest and a column for each ending."""

import io
import re

import pytest
from rich.console import Console

from islands import events as ev
from islands.state.run_state import State
from swarm.cli.live import DROPPED, LiveView, describe, table
from tests.support.histories import lived

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


def test_the_table_has_a_column_for_each_ending_that_occurred(lines):
    """Counts stand under the word that they count; there is none for what never happened."""
    _, state = lines
    grid = table(state)
    headings = [str(column.header) for column in grid.columns]
    occurred = {end for island in state.islands.values() for end, count in island.endings.items()
                if count}  # fmt: skip
    assert "failed" in occurred
    assert [name for name in headings if name in DROPPED] == [e for e in DROPPED if e in occurred]
    assert grid.row_count == len(state.islands)


def test_without_a_terminal_lines_are_printed_with_the_time(lines):
    """Each begins with hours, minutes and seconds since the launch."""
    described, state = lines
    out = io.StringIO()
    view = LiveView(Console(file=out, width=300))
    for event, _ in described:
        view(event, state)
    printed = out.getvalue().splitlines()
    assert len(printed) == sum(bool(line) for _, line in described)
    assert all(re.match(r"\d:\d\d:\d\d  \S", line) for line in printed)
