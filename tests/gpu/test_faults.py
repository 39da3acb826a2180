"""What goes wrong on a GPU: hung kernels, memory that runs out or is left, strangers, shares."""

import json
import subprocess
import time
from dataclasses import replace
from functools import partial

import pytest

from harness.contract import HarnessError, Rung
from harness.sandbox import Zygote, run
from harness.sandbox.monitor.gpu import exclusive_gpu
from harness.tasks.gpt.task import TASK
from harness.trial import measure
from swarm.executors.nvml import find_gpus
from tests.support import target
from tests.support.gpu import PYTHON

pytestmark = pytest.mark.gpu

HUNG = """
import torch, time
def train(trial):
    print("claim hung 1", flush=True)
    if trial.device == "cuda":
        torch.cuda._sleep(1 << 62)
        torch.cuda.synchronize()
    time.sleep(1e6)
"""

FULL = """
import torch
def train(trial):
    if trial.device == "cpu":
        raise MemoryError("CUDA out of memory")
    held = []
    while True:
        held.append(torch.empty(1 << 30, dtype=torch.uint8, device=trial.device))
"""

LEFT = """
import os, time, torch
def train(trial):
    ready, told = os.pipe()
    if not os.fork():
        size = 1 << (32 if trial.device == "cuda" else 20)
        held = torch.ones(size, dtype=torch.uint8, device=trial.device)
        os.write(told, b"." )
        time.sleep(1e6)
    os.read(ready, 1)
    raise SystemExit("left it allocated")
"""


STRANGER = """
import time, torch
x = torch.ones(1 << 30, device="cuda")
print(1, flush=True)
time.sleep(600)
"""


def measured(device, folder, code, seconds, **more):
    """Run a genome as a trial, warm as a slice's process would; return outcome and wall time."""
    genome = folder / "source"
    genome.mkdir(parents=True)
    (genome / "train.py").write_text(code)
    TASK.prepare("kjv")
    trial = device.trial(folder / "trial", Rung(2, seconds, 16384), genome)
    trial = replace(trial, **more)
    with Zygote(device.slice) as source:
        source.wait()
        began = time.monotonic()
        outcome = measure(trial, partial(run, source=source), "h")
        return outcome, time.monotonic() - began


@pytest.mark.parametrize(
    "fault",
    [(HUNG, "timeout", "still running"), (FULL, "crash", "memory"), (LEFT, "crash", "allocated")],
    ids=["hung_kernel", "out_of_memory", "memory_left"],
)
def test_the_slice_is_free_within_a_second(device, figure, tmp_path, fault):
    """The trial ends at its deadline or at once, and its memory is gone before the next lease."""
    code, kind, reason = fault
    idle, seconds = device.used_mib(), device.of(6.0, 4.0)
    outcome, wall = measured(device, tmp_path, code, seconds)
    used = device.used_mib() - idle
    figure("late_s", round(outcome.seconds["budget"] - seconds, 2))
    figure("left_mib", round(used))
    assert outcome.failure.kind == kind
    assert reason in outcome.failure.reason
    assert wall < seconds + 3
    assert outcome.seconds["budget"] < seconds + 1
    assert used < 128
    with exclusive_gpu(device.slice):
        pass


def test_a_share_is_not_exceeded(device, only_gpu, figure, tmp_path):
    """On half of the GPU a genome gets half of its memory."""
    half = replace(device.slice, share=0.5)
    with device.watched() as seen:
        outcome, _ = measured(device, tmp_path, FULL, 10.0, slice=half)
    figure("peak_mib", round(max(seen)))
    assert "out of memory" in outcome.failure.reason
    assert max(seen) - min(seen) < 0.5 * device.gpu.mib + 1024


def test_a_stranger_on_the_gpu_voids_a_trial(device, only_gpu, figure):
    """It is named; when it is gone, the slice is free again within the time to drain."""
    with subprocess.Popen([PYTHON, "-c", STRANGER], stdout=subprocess.PIPE) as stranger:
        stranger.stdout.read(1)
        try:
            with (
                pytest.raises(HarnessError, match=r"is not exclusive"),
                exclusive_gpu(device.slice),
            ):
                pytest.fail("was begun")
        finally:
            stranger.kill()
        stranger.wait()
    began = time.monotonic()
    with exclusive_gpu(device.slice):
        figure("drained_s", round(time.monotonic() - began, 2))


def test_two_shares_are_measured_beside_each_other(device, figure, tmp_path):
    """`swarm slices --benchmark` runs each alone and both at once, and says what that costs."""
    repo = tmp_path / "repo"
    target.swarm(tmp_path, "init", repo, "--task", "gpt")
    rung = {
        "depth": 4 if not device.dry else 1,
        "seconds": device.of(6.0, 3.0),
        "memory_mib": 16384,
    }
    slices = {"kind": device.kind, "shares": 1 if device.dry else 2}
    target.rewrite(repo, rungs=[rung], slices=slices, data="kjv", agent="mutator")
    words = ["--benchmark", "--seeds", "2", "--seconds", rung["seconds"], "--json"]
    rows = json.loads(target.swarm(repo, "slices", *words))["slices"]
    ours = [row for row in rows if device.dry or row["gpu"] == device.slice.gpu]
    for row in ours[:2]:
        figure(f"{row['name']}_steps_s", row["steps_per_second"])
        figure(f"{row['name']}_alone", row["steps_per_second_alone"])
    assert all(row["steps_per_second"] > 0 for row in ours)
    if not device.dry:
        assert len(ours) == 2
        assert ours[0]["device"] == "cuda-1of2"
        slowed = ours[0]["steps_per_second"] < 0.9 * ours[0]["steps_per_second_alone"]
        assert slowed == any("slow each other" in line for line in ours[0]["warnings"])


def test_mig_instances_are_slices(device, only_gpu, figure, tmp_path):
    """Where MIG is on, a sandbox computes on its instance, known by its UUID."""
    if not device.slice.parent:
        pytest.skip("MIG is not enabled on this GPU")
    figure("instances", len(find_gpus(None)))
    code = "import torch; print(torch.cuda.get_device_properties(0).total_memory >> 20)"
    ended, log = device.run(code, tmp_path / "p")
    assert ended.code == 0, log
    assert int(log.split()[-1]) <= device.gpu.mib
