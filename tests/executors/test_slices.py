"""Discovery of a machine's slices."""

import os
from pathlib import Path

import pynvml
import pytest

import swarm.executors.slices
from harness.contract import SetupError, Slice
from swarm.executors.machine_limits import MachineLimits
from swarm.executors.nvml import find_gpus
from swarm.executors.slices import MAX_AUTO_CPU_SLICES, discover
from swarm.project.schema.settings import SlicesSection
from tests.support.nvml import FakeNvml


@pytest.fixture
def machine(monkeypatch):
    """Return a function that fakes a machine with so many cores and these GPUs."""

    def make(cores, *whole, **boards):
        nvml = FakeNvml({**dict.fromkeys(whole), **boards})
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
        nowhere = MachineLimits(*[Path("/nonexistent")] * 4)
        monkeypatch.setattr(swarm.executors.slices, "MachineLimits", lambda: nowhere)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr(
            swarm.executors.slices, "find_gpus", lambda visible: find_gpus(visible, nvml)
        )

    return make


def test_without_a_gpu_each_core_is_a_slice(machine):
    """A machine with two cores has two slices, pinned to disjoint cores."""
    machine(2)
    assert [(s.name, s.kind, s.cores) for s in discover(SlicesSection())] == [
        ("cpu0", "cpu", (0,)),
        ("cpu1", "cpu", (1,)),
    ]


def test_auto_takes_no_more_cpu_slices_than_memory_can_feed(machine):
    """64 cores make 64 slices only if program.md asks for them."""
    machine(64)
    assert len(discover(SlicesSection())) == MAX_AUTO_CPU_SLICES
    assert len(discover(SlicesSection(count=64))) == 64


def test_cores_are_grouped_and_a_remainder_is_unused(machine):
    """Seven cores in groups of three are two slices."""
    machine(7)
    assert [s.cores for s in discover(SlicesSection(cores=3))] == [(0, 1, 2), (3, 4, 5)]


def test_each_gpu_is_a_slice_with_its_share_of_cores(machine):
    """GPUs are named by UUID, so that renumbering changes nothing; `cores` limits their cores."""
    machine(8, "GPU-aa", "GPU-bb")
    assert discover(SlicesSection()) == (
        Slice("gpu0", "cuda", (0, 1, 2, 3), "GPU-aa"),
        Slice("gpu1", "cuda", (4, 5, 6, 7), "GPU-bb"),
    )
    assert [s.cores for s in discover(SlicesSection(cores=1))] == [(0,), (1,)]


def test_mig_instances_replace_their_gpu(machine):
    """Each is named by UUID, with its GPU; empty indices are skipped."""
    boards = {"GPU-aa": ("MIG-1", None, "MIG-2"), "GPU-bb": (None, None), "GPU-cc": ()}
    machine(6, "GPU-dd", **boards)
    assert discover(SlicesSection()) == (
        Slice("gpu0", "cuda", (0,), "GPU-dd"),
        Slice("gpu1", "cuda", (1,), "MIG-1", "GPU-aa"),
        Slice("gpu2", "cuda", (2,), "MIG-2", "GPU-aa"),
        Slice("gpu3", "cuda", (3,), "GPU-cc"),
    )


def test_shares_divide_each_gpu_into_slices(machine):
    """Each has its share of memory, own cores, and a device that differs from a whole GPU's."""
    machine(7, "GPU-aa", "GPU-bb")
    slices = discover(SlicesSection(shares=3))
    assert [(s.name, s.gpu) for s in slices] == [
        *((f"gpu0.{n}", "GPU-aa") for n in range(3)),
        *((f"gpu1.{n}", "GPU-bb") for n in range(3)),
    ]
    assert sorted(core for s in slices for core in s.cores) == list(range(6))
    assert {s.share for s in slices} == {1 / 3}
    assert {s.device for s in slices} == {"cuda-1of3"}
    assert {s.device for s in discover(SlicesSection())} == {"cuda"}


@pytest.mark.parametrize(
    ("visible", "uuids"),
    [
        ("2,GPU-a", ["GPU-cc", "GPU-aa"]),
        ("1", ["MIG-1", "MIG-2"]),
        ("MIG-2,0", ["MIG-2", "GPU-aa"]),
        ("0,7,2", ["GPU-aa"]),
        ("0,GPU-aa,0", ["GPU-aa"]),
        ("", []),
        ("-1", []),
    ],
)
def test_cuda_visible_devices_is_obeyed(visible, uuids):
    """GPUs by index or start of a UUID, in its order, none after an unknown name."""
    nvml = FakeNvml({"GPU-aa": None, "GPU-bb": ("MIG-1", "MIG-2"), "GPU-cc": None})
    assert [gpu.uuid for gpu in find_gpus(visible, nvml)] == uuids
    assert nvml.opened == 0


def test_an_absent_driver_means_no_gpu_and_a_broken_one_is_an_error():
    """A driver that needs a reboot does not silently lead to CPU slices."""
    for absent in (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED):
        assert find_gpus(None, FakeNvml(broken=absent)) == []
    mismatch = pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH
    with pytest.raises(SetupError, match=r"does not answer .*slices\.kind: cpu"):
        find_gpus(None, FakeNvml(broken=mismatch))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (SlicesSection(count=3), "slices.count: 3 slices asked for, this machine has 2"),
        (SlicesSection(cores=4), "slices.cores: 4 cores a slice, this machine has 2"),
        (SlicesSection(kind="cuda"), "slices.kind: cuda, but NVML lists no GPU"),
        (SlicesSection(shares=2), "slices.shares: 2 shares of each GPU, but there is none"),
        (SlicesSection(kind="mps"), "slices.kind: mps needs a Mac"),
    ],
)
def test_a_section_that_the_machine_cannot_meet_is_refused(machine, section, message):
    """The message names the key."""
    machine(2)
    with pytest.raises(SetupError, match=message):
        discover(section)


def test_more_cores_than_the_machine_has_are_refused(machine):
    """Slices of GPUs never share a core."""
    machine(8, "GPU-aa", "GPU-bb")
    with pytest.raises(SetupError, match=r"slices.cores: 3 cores for each of 4 slices"):
        discover(SlicesSection(cores=3, shares=2))


@pytest.mark.parametrize("count", [1, 2, 8])
@pytest.mark.parametrize("shares", [1, 2])
def test_machines_of_several_gpus_are_cut_alike(machine, count, shares):
    """1, 2 and 8 GPUs, whole and in halves: each slice has a GPU, its share, its own cores."""
    uuids = [f"GPU-{number}" for number in range(count)]
    machine(32, *uuids)
    slices = discover(SlicesSection(shares=shares))
    assert [slice_.gpu for slice_ in slices] == [uuid for uuid in uuids for _ in range(shares)]
    assert {slice_.share for slice_ in slices} == {1 / shares}
    cores = [core for slice_ in slices for core in slice_.cores]
    assert len(set(cores)) == len(cores) == 32


def test_mixed_hardware_is_cut_by_what_each_gpu_is(machine, monkeypatch):
    """Whole GPUs and MIG instances side by side; CUDA_VISIBLE_DEVICES keeps one kind."""
    machine(8, "GPU-aa", **{"GPU-bb": ("MIG-1", "MIG-2")})
    assert [slice_.gpu for slice_ in discover(SlicesSection())] == ["GPU-aa", "MIG-1", "MIG-2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-2,MIG-1")
    assert [slice_.gpu for slice_ in discover(SlicesSection())] == ["MIG-2", "MIG-1"]
