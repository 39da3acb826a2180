"""Which slices a machine is found to have."""

import os
import stat

import pytest

from harness.contract import SetupError
from swarm.settings import Slices
from swarm.slices import MOST_CPU_SLICES, discover


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Make a machine with so many cores, and with an nvidia-smi that prints these GPUs."""

    def make(cores, gpus=()):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if gpus:
            rows = "".join(f"echo '{n}, {uuid}'\n" for n, uuid in enumerate(gpus))
            tool = tmp_path / "nvidia-smi"
            tool.write_text(f"#!/bin/sh\n{rows}")
            tool.chmod(tool.stat().st_mode | stat.S_IXUSR)

    return make


def test_without_a_gpu_each_core_is_a_slice(machine):
    """A laptop with two cores has two slices, pinned to disjoint cores."""
    machine(2)
    assert [(s.name, s.kind, s.cores) for s in discover(Slices())] == [
        ("cpu0", "cpu", (0,)),
        ("cpu1", "cpu", (1,)),
    ]


def test_auto_takes_no_more_cpu_slices_than_memory_can_feed(machine):
    """A large machine is not cut into 64 slices unless asked to."""
    machine(64)
    assert len(discover(Slices())) == MOST_CPU_SLICES
    assert len(discover(Slices(count=64))) == 64


def test_cores_are_grouped_and_what_is_left_over_is_left(machine):
    """Seven cores in groups of three are two slices."""
    machine(7)
    assert [s.cores for s in discover(Slices(cores=3))] == [(0, 1, 2), (3, 4, 5)]


def test_each_gpu_is_a_slice_with_its_share_of_cores(machine):
    """By UUID, so that a renumbering changes nothing."""
    machine(8, ["GPU-aa", "GPU-bb"])
    found = discover(Slices())
    assert [(s.kind, s.gpu, s.cores) for s in found] == [
        ("cuda", "GPU-aa", (0, 1, 2, 3)),
        ("cuda", "GPU-bb", (4, 5, 6, 7)),
    ]


def test_cuda_visible_devices_is_obeyed(machine, monkeypatch):
    """By index or by UUID, in its order."""
    machine(8, ["GPU-aa", "GPU-bb", "GPU-cc"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-aa")
    assert [s.gpu for s in discover(Slices())] == ["GPU-cc", "GPU-aa"]


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (Slices(count=3), "3 slices asked for, this machine has 2"),
        (Slices(cores=4), "4 cores a slice, this machine has 2"),
        (Slices(kind="cuda"), "nvidia-smi lists no GPU"),
        (Slices(kind="mps"), "needs a Mac"),
    ],
)
def test_what_the_machine_lacks_is_said(machine, wish, message):
    """One line with the key and the mend."""
    machine(2)
    with pytest.raises(SetupError, match=message):
        discover(wish)
