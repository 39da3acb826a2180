"""The share of a machine that trials may use, and who else uses it."""

import os

import pytest

import swarm.executors.slices
from harness.contract import Rung, Slice
from swarm.cli.machine_report import machine_lines
from swarm.executors.core_leases import lease_cores
from swarm.executors.machine_limits import CpuLoad, MachineLimits
from swarm.executors.slices import discover
from swarm.project.schema.settings import SlicesSection
from tests.support.laboratory import launch


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return a function that makes a machine: its cores, their siblings, files of its cgroups."""

    def make(cores, siblings="", own="0::/a/b\n", total_kib=8 << 20, **files):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
        (tmp_path / "own").write_text(own)
        (tmp_path / "meminfo").write_text(f"MemTotal:  {total_kib} kB\nMemFree: 1 kB\n")
        for core, text in enumerate(filter(None, siblings.split())):
            folder = tmp_path / f"cpu{core}" / "topology"
            folder.mkdir(parents=True)
            (folder / "thread_siblings_list").write_text(f"{text}\n")
        for name, text in files.items():
            file = tmp_path / "groups" / name.replace("__", "/").replace("_dot_", ".")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{text}\n")
        limits = MachineLimits(
            tmp_path / "groups", tmp_path / "own", tmp_path, tmp_path / "meminfo"
        )
        monkeypatch.setattr(swarm.executors.slices, "MachineLimits", lambda: limits)
        return limits

    return make


def test_whole_cores_come_before_their_hyper_threads(machine):
    """Of two cores with two threads each, the first slices are the two cores."""
    assert machine(4, "0-1 0-1 2-3 2-3").ordered_cores() == [0, 2, 1, 3]
    assert [slice_.cores for slice_ in discover(SlicesSection(kind="cpu", count=2))] == [(0,), (2,)]


def test_one_core_stays_free_where_there_are_four_unless_they_are_asked_for(machine):
    """Three slices of four cores, two of two."""
    for cores, slices in ((4, 3), (3, 3), (2, 2)):
        machine(cores)
        assert len(discover(SlicesSection(kind="cpu"))) == slices
    machine(4)
    assert len(discover(SlicesSection(kind="cpu", count=4))) == 4


def test_the_tightest_quota_of_a_group_and_those_above_it_holds(machine):
    """In groups of version 2 and of version 1; `max` and -1 are none."""
    limits = machine(8, a__cpu_dot_max="150000 100000", a__b__cpu_dot_max="max 100000")
    assert limits.cpu_quota() == 1.5
    assert limits.ordered_cores() == [0]
    files = {"cpu__x__cpu_dot_cfs_quota_us": "400000", "cpu__x__cpu_dot_cfs_period_us": "100000"}
    limits = machine(8, own="4:cpu,cpuacct:/x\n3:memory:/x\n", **files)
    assert limits.cpu_quota() == 4.0
    assert machine(8, own="0::/none\n").cpu_quota() is None


def test_memory_is_the_least_of_the_machine_and_its_groups(machine):
    """A group without a limit says `max`."""
    assert machine(2, a__memory_dot_max=str(512 << 20), memory_dot_max="max").memory_mib() == 512
    assert machine(2, own="0::/none\n", total_kib=4 << 20).memory_mib() == 4096


def test_a_core_is_leased_once_and_again_when_its_run_has_ended(tmp_path):
    """The other run is named; cores that are free are leased all the same."""
    with lease_cores([0, 1], tmp_path) as mine, lease_cores([1, 2], tmp_path) as theirs:
        assert mine == {}
        assert theirs == {1: f"pid {os.getpid()}"}
        with lease_cores([2], tmp_path) as third:
            assert list(third) == [2]
    with lease_cores([1], tmp_path) as again:
        assert again == {}


def test_launch_says_what_to_expect_of_a_busy_small_machine(tmp_path, machine):
    """Of load, of another run, of a quota below the cores, of memory; of a quiet one nothing."""
    limits = machine(2, a__cpu_dot_max="100000 100000", a__memory_dot_max=str(2048 << 20))
    plan = launch(tmp_path, rungs=(Rung(1, 20.0, 2048),), task="packing")
    slices = [Slice(f"cpu{core}", "cpu", (core,)) for core in range(2)]
    for island, slice_ in zip(plan.islands, slices, strict=True):
        object.__setattr__(island, "slice", slice_)
    lines = list(machine_lines(plan, CpuLoad({0: 0.9, 1: 0.0}), {1: "pid 7"}, limits))
    assert lines[0] == "another run (pid 7) has core 1: trials of both will take longer"
    assert lines[1].startswith("others use this machine (core 0 90%, core 1 0%): trials of 20 s")
    assert lines[2] == "`--islands 1` would use the idle cores alone"
    assert lines[3].startswith("the CPU quota here is 1 of 2 cores: trials will be throttled; use")
    assert lines[4].startswith("2 slices may hold 4096 MiB together and this machine has 2048")
    quiet = machine(2, own="0::/none\n", total_kib=64 << 20)
    assert list(machine_lines(plan, CpuLoad({0: 0.01, 1: 0.02}), {}, quiet)) == []


@pytest.mark.parametrize(
    ("task", "expects", "advice"),
    [
        (
            "packing",
            "trials of 20 s will take about 38 to 50 s",
            "stop what else runs, or give trials longer budgets (`seconds` of the rungs)",
        ),
        (
            "command",
            "trials will take about 1.9 to 2.5 times as long",
            "stop what else runs",
        ),
    ],
)
def test_a_limit_is_not_taken_for_the_length_of_a_trial(tmp_path, machine, task, expects, advice):
    """A command ends when it is done: its `seconds` are no forecast, and more of them no help."""
    plan = launch(tmp_path, rungs=(Rung(1, 20.0, 64),), task=task)
    object.__setattr__(plan.islands[0], "slice", Slice("cpu0", "cpu", (0,)))
    load = CpuLoad({0: 0.9}, 1.5)
    busy, fix = machine_lines(plan, load, {}, machine(2, own="0::/none\n", total_kib=64 << 20))
    assert busy.startswith(f"others use this machine (core 0 90%): {expects}, and scores are")
    assert fix == advice
