"""torch.compile in a sandbox on the GPU, cold and with what was compiled before the budget."""

from functools import partial

import pytest

from harness.contract import Rung
from harness.sandbox import Zygote, run
from harness.tasks.gpt import compiled
from harness.tasks.gpt.task import TASK
from harness.trial import measure

pytestmark = pytest.mark.gpu

GENOME = """
import time, torch
from torch._dynamo.utils import counters

def train(trial):
    torch.manual_seed(1)
    layers = [torch.nn.Linear(256, 256), torch.nn.ReLU(), torch.nn.Linear(256, 1)]
    model = torch.nn.Sequential(*layers).to(trial.device)
    forward, x = torch.compile(model), torch.randn(64, 256, device=trial.device)
    began = time.monotonic()
    with torch.autocast(trial.device, torch.bfloat16):
        forward(x).float().sum().backward()
    print("claim compile_s", time.monotonic() - began)
    assert (forward(x) - model(x)).abs().max() < 1e-2
    for _ in range(60):
        if time.monotonic() < trial.deadline:
            forward(x).sum().backward()
    print("claim hits", counters["inductor"]["fxgraph_cache_hit"])
    return model
"""


@pytest.mark.parametrize("ahead", [False, True], ids=["cold", "ahead"])
def test_a_model_compiles_in_a_trial(device, figure, tmp_path, monkeypatch, ahead):
    """It computes what the plain model does; compiled before, its graphs come from the cache."""
    monkeypatch.setattr(compiled, "KINDS", frozenset({device.kind} if ahead else ()))
    genome = tmp_path / "source"
    genome.mkdir()
    (genome / "train.py").write_text(GENOME)
    TASK.prepare("kjv")
    trial = device.trial(tmp_path / "t", Rung(1, 120.0, 16384), genome)
    with Zygote(device.slice) as source:
        outcome = measure(trial, partial(run, source=source), "h")
    assert "compile_s" in outcome.claims, outcome.tail
    figure("compile_s", round(outcome.claims["compile_s"], 2))
    figure("build_s", outcome.seconds["build"])
    figure("host_mib", round(outcome.peak_mib))
    assert (outcome.claims["hits"] > 0) == ahead
