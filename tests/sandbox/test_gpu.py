"""A trial on a GPU that somebody else computes on is void, and the reason says who."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import partial
from types import SimpleNamespace

import pynvml
import pytest

from harness.contract import HarnessError, Slice
from harness.sandbox.monitor import gpu
from harness.sandbox.monitor.gpu import awake_gpu, check_exclusive, exclusive_gpu, gpu_model
from harness.trial import _drained
from tests.support.nvml import FakeNvml

# ruff: noqa: N802 - the names are NVML's

LEASE = Slice("gpu0", "cuda", (0,), "GPU-aa")


@dataclass
class Driver:
    """A stand-in for NVML: `answers` are the processes at each look, the last one again and again.

    `asked` is what was asked about, `used` the MiB in use at each look, likewise.
    """

    answers: list
    broken: int | None = None
    used: list = field(default_factory=lambda: [600])
    opened: int = 0
    asked: list = field(default_factory=list)

    def nvmlInit(self):
        self.opened += 1

    def nvmlShutdown(self):
        self.opened -= 1

    def nvmlDeviceGetHandleByIndex(self, number):
        return number

    def nvmlDeviceGetHandleByUUID(self, uuid):
        return uuid

    def nvmlDeviceGetName(self, handle):
        return f"Model of {handle}"

    def nvmlDeviceGetComputeRunningProcesses(self, handle):
        self.asked.append(handle)
        if self.broken is not None:
            raise pynvml.NVMLError(self.broken)
        return [SimpleNamespace(pid=pid) for pid in _next(self.answers)]

    def nvmlDeviceGetMemoryInfo(self, handle):
        return SimpleNamespace(used=_next(self.used) << 20)


def _next(answers):
    return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Give a driver no time to forget."""
    monkeypatch.setattr(gpu, "DRAIN_TIMEOUT_S", 0.0)
    monkeypatch.setattr(gpu, "_least", {})


def test_a_gpu_of_ours_alone_is_looked_at_twice():
    """No process before and none after; the library is closed again."""
    driver = Driver([[]])
    with exclusive_gpu(LEASE, driver):
        assert driver.asked == ["GPU-aa"]
    assert driver.asked == ["GPU-aa", "GPU-aa"]
    assert driver.opened == 0


def test_a_stranger_before_the_trial_voids_it():
    """Nothing is begun, and the error names slice, GPU and process."""
    said = rf"slice gpu0 .*GPU-aa .*process {os.getpid()} \(\w+.*\) before the trial"
    with pytest.raises(HarnessError, match=said), exclusive_gpu(LEASE, Driver([[os.getpid()]])):
        pytest.fail("was begun")


def test_a_stranger_after_the_trial_voids_it():
    """Who has come meanwhile took something from the trial, known by name or not."""
    ran = []
    with (
        pytest.raises(HarnessError, match=r"process 99999999 after the trial"),
        exclusive_gpu(LEASE, Driver([[], [99999999]])),
    ):
        ran.append("ran")
    assert ran == ["ran"]


def test_the_dead_are_forgotten_in_time(monkeypatch):
    """A driver that lists our dead sandbox a moment longer voids no trial."""
    monkeypatch.setattr(gpu, "DRAIN_TIMEOUT_S", 60.0)
    monkeypatch.setattr(gpu, "POLL_S", 0.0)
    driver = Driver([[7], [7], []])
    with exclusive_gpu(LEASE, driver):
        assert len(driver.asked) == 3


def test_a_gpu_may_be_known_by_its_index():
    """The index is that of the PCI bus, as everywhere."""
    driver = Driver([[]])
    with exclusive_gpu(Slice("gpu1", "cuda", (), "1"), driver):
        assert driver.asked == [1]


@pytest.mark.parametrize(
    "lease", [Slice("cpu0", "cpu", (0,)), Slice("gpu0.0", "cuda", (), "GPU-aa", share=0.5)]
)
def test_a_slice_without_a_gpu_of_its_own_is_not_looked_at(lease):
    """Cores have no GPU, and a shared GPU has those that it is shared with."""
    driver = Driver([[7]])
    with exclusive_gpu(lease, driver):
        pass
    assert driver.asked == []


def test_a_driver_that_cannot_tell_stops_nothing():
    """Where the driver does not say who computes, trials run all the same."""
    with exclusive_gpu(LEASE, Driver([], pynvml.NVML_ERROR_NOT_SUPPORTED)):
        pass


def test_a_driver_that_is_broken_voids():
    """A GPU that has fallen off its bus gives no score."""
    driver = Driver([], pynvml.NVML_ERROR_GPU_IS_LOST)
    with (
        pytest.raises(HarnessError, match="GPU-aa cannot be looked at"),
        exclusive_gpu(LEASE, driver),
    ):
        pytest.fail("was begun")
    assert driver.opened == 0


def test_memory_that_has_not_drained_keeps_the_next_trial_out():
    """Whichever process holds it: the lowest reading so far is what an idle GPU has in use."""
    driver = Driver([[]], used=[600, 600, 40_600])
    with exclusive_gpu(LEASE, driver):
        pass
    said = r"GPU-aa holds 40000 MiB that no known process uses before the trial"
    with pytest.raises(HarnessError, match=said), exclusive_gpu(LEASE, driver):
        pytest.fail("was begun")


def test_a_driver_is_given_time_to_drain_and_may_keep_a_little(monkeypatch):
    """Memory that is freed a moment later, or that the driver holds, refuses no trial."""
    monkeypatch.setattr(gpu, "DRAIN_TIMEOUT_S", 60.0)
    monkeypatch.setattr(gpu, "POLL_S", 0.0)
    driver = Driver([[]], used=[600, 30_600, 900, 700])
    with exclusive_gpu(LEASE, driver):
        pass
    assert len(driver.asked) == 4


def test_a_sandbox_ends_when_its_memory_is_free(monkeypatch):
    """The next one of its trial is not begun before; on a share of a GPU nobody waits."""
    monkeypatch.setattr(gpu, "DRAIN_TIMEOUT_S", 60.0)
    monkeypatch.setattr(gpu, "POLL_S", 0.0)
    driver = Driver([[]], used=[600, 70_600, 30_600, 600])
    monkeypatch.setattr("harness.trial.check_exclusive", partial(check_exclusive, nvml=driver))
    check_exclusive(LEASE, "", driver)
    assert _drained(lambda policy, argv, log: "ended", LEASE)(None, [], None) == "ended"
    assert len(driver.asked) == 4
    assert _drained(lambda policy, argv, log: "ended", replace(LEASE, share=0.5))(None, [], None)
    assert len(driver.asked) == 4


def test_a_gpu_is_held_open_between_sandboxes():
    """So the driver does not take it down; where there is no driver, trials say so."""
    driver = Driver([[]])
    with awake_gpu(LEASE, driver):
        assert driver.opened == 1
        assert gpu_model(LEASE, driver) == "Model of GPU-aa"
        assert driver.opened == 1
    with awake_gpu(Slice("cpu0", "cpu", (0,)), driver):
        assert driver.opened == 0
    missing = FakeNvml(broken=pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
    with awake_gpu(LEASE, missing):
        assert gpu_model(LEASE, missing) == ""
