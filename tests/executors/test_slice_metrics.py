"""Metrics of slices: from a run's events, and from new trials."""

import asyncio
import json
import math

import duckdb
import pytest

from analysis.database.projection import schema
from analysis.database.projection.event_rows import rows
from analysis.database.projection.put import put
from analysis.questions.slice_metrics import SliceMetrics, metrics_by_slice
from harness.contract import Failure, HarnessError, Outcome, Rung, SetupError, Slice, Trial
from islands import events as ev
from swarm.executors.base import VoidError
from swarm.executors.slice_metrics import measure_slices
from tests.support.target import packing, swarm


def outcome(score, steps=0.0, foreign=None, seconds=2.0):
    """Return a trial's outcome; a score of None is a failure."""
    return Outcome(
        "t",
        "h",
        "namespaces",
        score=score,
        failure=Failure("crash", "boom") if score is None else None,
        seconds={"budget": seconds},
        facts={} if foreign is None else {"foreign_cpu": foreign},
        claims={"steps": steps} if steps else {},
    )


def history(*trials):
    """Yield the events of a run; a trial is its slice, commit, seed and outcome or void reason."""
    rung = (Rung(1, 2.0),)
    yield ev.RunOpened("r", "base", "main", "lab", "none", "m", "minimize", ("x",), rung, "h", 7, 4)
    for number, (slice_name, commit, seed, end) in enumerate(trials):
        start = ev.TrialStarted(f"t{number}", 0, "a", commit, "baseline", seed, 0, slice_name)
        yield start
        yield ev.TrialVoided(start, end) if isinstance(end, str) else ev.TrialEnded(start, end)


def recorded(*trials):
    """Return the metrics of each slice from the record of such a run."""
    with duckdb.connect() as con:
        schema.create(con)
        for event in history(*trials):
            for table, row in rows(event):
                put(con, table, [row])
        return metrics_by_slice(con)


def test_sigma_is_the_spread_between_seeds_of_one_commit_pooled():
    """The difference between the means of two commits does not count."""
    metrics = recorded(
        ("s0", "base", 1, outcome(1.0)),
        ("s0", "base", 2, outcome(1.2)),
        ("s0", "other", 1, outcome(9.0)),
        ("s0", "other", 2, outcome(9.0)),
        ("s0", "third", 1, outcome(5.0)),
        ("s1", "base", 1, outcome(1.0)),
    )
    assert metrics["s0"].sigma == pytest.approx(math.sqrt(0.02 / 2))
    assert metrics["s1"].sigma is None


def test_speed_is_measured_on_the_base_only():
    """Steps of a candidate do not count."""
    metrics = recorded(
        ("s0", "base", 1, outcome(1.0, steps=200)),
        ("s0", "base", 2, outcome(1.0, steps=300)),
        ("s0", "wide", 1, outcome(1.0, steps=20)),
    )
    assert metrics["s0"].as_dict()["steps_per_second"] == 125


def test_foreign_load_voids_and_slowdown_give_warnings():
    """A quiet slice has no warnings."""
    quiet, loud = recorded(
        ("s0", "base", 1, outcome(1.0, foreign=0.01)),
        ("s1", "base", 1, outcome(1.0, foreign=0.02)),
        ("s1", "base", 2, outcome(None, foreign=0.10)),
        ("s1", "base", 3, "others were there"),
    ).values()
    assert quiet.warnings() == []
    taken, void = loud.warnings()
    assert taken.startswith("others took 6.0% of its cores' time")
    assert void == "1 void (harness, 0.0 s), the latest: others were there"
    assert quiet.voids == ()
    assert loud.as_dict()["foreign_cpu_worst"] == 0.10
    slowed = SliceMetrics(steps_per_second=140.0, steps_per_second_alone=355.0).warnings()
    assert slowed[0].startswith("140 steps a second beside the others, 355 alone")


SLICES = tuple(Slice(f"s{n}", "cpu") for n in range(3))
TRIAL = Trial("", "lab", "none", "c", 7, Rung(1, 1.0), SLICES[0], "/g", "x.py", "/s")


class Shared:
    """An executor of slices that share one machine of 300 steps a second."""

    def __init__(self, **broken):
        self.busy, self.max_busy, self.broken, self.ids = 0, 0, broken, []

    async def run(self, trial):
        self.ids.append(trial.id)
        self.busy += 1
        self.max_busy = max(self.max_busy, self.busy)
        await asyncio.sleep(0)
        end = self.broken.get(trial.slice.name) or outcome(1.0, 600 / self.busy)
        await asyncio.sleep(0)
        self.busy -= 1
        if isinstance(end, Exception):
            raise end
        return end


def test_slices_are_measured_alone_and_then_side_by_side():
    """Three that share one machine are a third as fast side by side, and warn of it."""
    executor, reports = Shared(), []
    by_slice = asyncio.run(measure_slices(executor, SLICES, TRIAL, 2, reports.append))
    assert executor.max_busy == 3
    assert len(reports) == 3 + 2
    assert len(by_slice) == 3
    for metrics in by_slice.values():
        facts = metrics.as_dict()
        assert facts["trials"] == 2
        assert facts["steps_per_second_alone"] == 300
        assert facts["steps_per_second"] == 100
        assert "100 steps a second beside the others" in metrics.warnings()[0]


def test_one_slice_has_no_others_to_be_measured_beside():
    """It runs each seed once."""
    executor = Shared()
    asyncio.run(measure_slices(executor, SLICES[:1], TRIAL, 2, lambda _: None))
    assert executor.ids == ["s0-7", "s0-8"]


def test_a_failing_genome_and_a_void_trial_raise_different_errors():
    """The user must fix the first, a SetupError."""
    with pytest.raises(SetupError, match=r"the genome fails on slice s1: boom"):
        asyncio.run(measure_slices(Shared(s1=outcome(None)), SLICES, TRIAL, 2, lambda _: None))
    with pytest.raises(HarnessError, match=r"slice s2 could not be measured: no room"):
        asyncio.run(
            measure_slices(Shared(s2=VoidError("no room")), SLICES, TRIAL, 2, lambda _: None)
        )


@pytest.mark.sandbox
def test_the_command_lists_and_measures_slices_and_shows_a_runs(tmp_path):
    """It works anywhere, in a repository before its first run, and after one."""
    nowhere = json.loads(swarm(tmp_path, "slices", "--json"))
    assert nowhere["source"] == ""
    assert nowhere["slices"][0]["sigma"] is None
    assert "not in a git repository" not in swarm(tmp_path, "slices")
    assert "--benchmark needs a program.md" in swarm(tmp_path, "slices", "--benchmark", code=2)
    assert "use --benchmark" in swarm(tmp_path, "slices", "--measure", code=2)
    repo = packing(tmp_path, slices={"kind": "cpu", "count": 1})
    measured = json.loads(swarm(repo, "slices", "--benchmark", "--seeds", "2", "--json"))
    (slice_,) = measured["slices"]
    assert (slice_["name"], slice_["trials"]) == ("cpu0", 2)
    assert slice_["sigma"] > 0
    assert "--run nil: no such run" in swarm(repo, "slices", "--run", "nil", code=2)
    swarm(repo, "launch", "--trials", "5")
    (slice_,) = json.loads(swarm(repo, "slices", "--json"))["slices"]
    assert slice_["trials"] == 5
    assert "run1" in swarm(repo, "slices")
