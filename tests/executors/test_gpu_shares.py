"""A share of a GPU: the memory cap in the sandboxes of the gpt task."""

import os
import socket
import sys

import pytest
import torch

from harness.contract import Rung, Slice, Trial
from harness.runners import gpt_logits as gpt_score
from harness.sandbox.guest import clock, gpu_share, toolchain
from harness.tasks.gpt.task import TASK

sys.modules["guest.clock"] = clock  # its name inside a sandbox
sys.modules["guest.toolchain"] = toolchain
sys.modules["guest.gpu_share"] = gpu_share
from harness.runners import gpt_train  # noqa: E402

GENOME = """
import torch

def build(vocab, context, depth):
    return torch.nn.Linear(1, 1)

def train(trial):
    return build(trial.vocab, trial.context, trial.depth)
"""


@pytest.fixture
def genome(tmp_path, monkeypatch):
    """Make a genome that needs no GPU; keep this process alive where a runner would exit."""
    entry = tmp_path / "shared_genome.py"
    entry.write_text(GENOME)
    monkeypatch.setattr(os, "_exit", sys.exit)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "shared_genome", raising=False)
    return entry


@pytest.fixture
def caps(monkeypatch):
    """Return the list of memory caps that torch is given, on a GPU of 8 GiB."""
    fractions = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (0, 8 << 30))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", fractions.append)
    return fractions


def words(entry, **more):
    """Return a runner's command line."""
    options = {"entry": entry, "vocab": 2, "context": 2, "depth": 1, **more}
    return [
        "runner",
        *(word for name, value in options.items() for word in (f"--{name}", str(value))),
    ]


def test_a_trainer_may_fill_its_share_of_a_gpu_and_no_more(genome, caps, monkeypatch, tmp_path):
    """The cap is set before the genome is imported; a whole GPU and a CPU are not capped.

    CUDA's own memory, an eighth of this GPU, is part of the share.
    """
    (tmp_path / "tokens").write_bytes(b"\0" * 8)
    more = {"tokens": tmp_path / "tokens", "out": tmp_path / "out", "seed": 1, "seconds": 1e9}
    for device, share in [("cuda", 0.25), ("cuda", 1.0), ("cpu", 0.5)]:
        monkeypatch.setattr(sys, "argv", words(genome, device=device, share=share, **more))
        with pytest.raises(SystemExit):
            gpt_train.main()
    assert caps == [0.125]
    assert (tmp_path / "out").exists()


def test_a_scorer_may_fill_its_share_of_a_gpu_and_no_more(genome, caps, monkeypatch, tmp_path):
    """The cap is set before any code of the genome runs, so that a failure there is ours."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        more = {"weights": tmp_path / "none", "device": "cuda", "share": 0.5, "rows": 1}
        more |= {"channel": theirs.fileno(), "memory": 0}
        monkeypatch.setattr(sys, "argv", words(genome, **more))
        monkeypatch.setattr(gpt_score, "wake", lambda device: None)
        with pytest.raises(FileNotFoundError):
            gpt_score.main()
        assert ours.recv(9) == b"..."
    assert caps == [0.375]


def test_the_task_passes_the_slices_share_to_its_sandboxes(kjv):
    """The share is that of the trial's slice."""
    slice_ = Slice("gpu0.0", "cuda", (0,), "GPU-aa", share=0.5)
    trial = Trial("t", "gpt", "kjv", "c", 1, Rung(1, 1.0), slice_, "/g", "train.py", "/s")
    args = TASK.sandbox_request(trial).args
    assert args[args.index("--share") + 1] == "0.5"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_beyond_its_share_of_a_gpu_there_is_no_memory():
    """A half of a GPU does not hold three quarters of one."""
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(0.5)
    try:
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(total * 3 // 4, dtype=torch.uint8, device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
