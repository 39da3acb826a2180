"""How long a run was at work: time in which no coordinator ran is none of it."""

import shutil
from dataclasses import replace
from datetime import datetime, timedelta

import duckdb
import pytest

from analysis.database.refresh import reading
from analysis.pictures import kinds
from analysis.pictures.source import RunSource
from analysis.report.facts import gather
from analysis.run import RecordedRun

START = datetime.fromisoformat("2026-12-01 12:00:00")

COORDINATORS = [
    ("opened", 0),
    ("resumed", 3600),
    ("resumed", 7200),
    ("stopped", 60),
    ("stopped", 7260),
]
"""A launch of a minute, one that was killed, and a minute again; not in the order of time."""

TRIALS = [(0, 60, None), (3600, 3660, None), (3660, 7200, "lost"), (7200, 7260, None)]
"""The coordinator of the second launch was killed a moment after its second trial began."""


@pytest.fixture
def paused(tmp_path, recorded):
    """A record of those launches and trials, on one slice."""
    with reading(recorded):
        shutil.copy(recorded / "lineage.duckdb", tmp_path / "copy.duckdb")
    with duckdb.connect(tmp_path / "copy.duckdb") as con:
        for name in ("coordinators", "trials", "nodes", "promotions"):
            con.execute(f"DELETE FROM {name}")
        for action, second in COORDINATORS:
            row = [action, START + timedelta(seconds=second)]
            con.execute("INSERT INTO coordinators (action, recorded) VALUES (?, ?)", row)
        for number, (begin, end, cause) in enumerate(TRIALS):
            times = [START + timedelta(seconds=second) for second in (begin, end)]
            con.execute(
                "INSERT INTO trials (trial, slice, purpose, state, started, ended, cause)"
                " VALUES (?, 'cpu0', 'screen', ?, ?, ?, ?)",
                [str(number), "voided" if cause else "scored", *times, cause],
            )
        yield con


def test_a_launch_lasts_until_its_stop_or_the_last_that_it_recorded(paused):
    """The end of a lost trial was recorded by the launch after it."""
    seconds = "SELECT epoch(started - ?)::INTEGER, epoch(ended - ?)::INTEGER FROM launches"
    found = paused.execute(seconds, [START, START]).fetchall()
    assert found == [(0, 60), (3600, 3660), (7200, 7260)]


def test_lanes_tell_the_share_of_the_time_of_launches(paused):
    """All of it here, and not three minutes of two hours."""
    drawn = kinds.figure("slices", RunSource(paused, lambda: None))
    title = drawn.axes[0].get_title(loc="left")
    assert title == "slices ran trials 100% of the time in 3 launches"


def test_a_report_tells_time_at_work_and_since_when(recorded):
    """And what it tried that is neither kept nor listed among what was not."""
    with RecordedRun(recorded) as run:
        facts = gather(run.source, lambda old, new: "", run._fold.lfsrs)
    known = {"islands": 1, "agents": ("mutator",), "tried": 87, "trials": 1, "changes": ()}
    known |= {"unshown": 1, "began": START, "endless": {"still open": 1, "void": 0}}
    one = replace(facts, **known, launches=1, active=48.0, ended=START + timedelta(seconds=48))
    did = "1 island (mutator) tried 87 proposals (1 still open) in 1 trial and kept 1 change."
    assert one.opening == f"In 0.8 minutes {did}"
    more = replace(one, launches=3, ended=START + timedelta(hours=2))
    assert more.opening == f"In 0.8 minutes of 3 launches since 2026-12-01 12:00 UTC {did}"


def test_the_proposals_of_a_report_add_up(recorded):
    """Kept, not kept by cause, and those that are neither."""
    with RecordedRun(recorded) as run:
        facts = gather(run.source, lambda old, new: "", run._fold.lfsrs)
    not_kept = sum(row["count"] for row in facts.endings if row["ending"] != "unanswered")
    kept = len(facts.changes) + facts.unshown
    assert facts.tried == kept + not_kept + sum(facts.endless.values())
