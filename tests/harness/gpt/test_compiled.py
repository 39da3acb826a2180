"""A genome is compiled before its budget, on noise, and finds the result in its trials."""

import tarfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from harness.contract import Rung
from harness.fingerprint import harness_id
from harness.sandbox import Zygote, run
from harness.tasks.gpt import compiled
from harness.tasks.gpt.task import TASK
from harness.trial import measure

pytestmark = pytest.mark.sandbox

STAND_IN = """
# in place of torch.compile: a file in its folder, named by the text that is seen
import os, time, torch
from pathlib import Path

def train(trial):
    cache = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    print("found", sorted(path.name for path in cache.iterdir()))
    model, passes = torch.nn.Linear(1, 1), 0
    while time.monotonic() < trial.deadline and passes < 100:
        model(torch.ones(1)).backward()
        passes += 1
    print("claim passes", passes)
    (cache / f"kernel-{len(trial.tokens)}").write_text("code")
    (cache / "locks").mkdir(exist_ok=True)
    (cache / "locks/lock").touch()
    return model
"""

REAL = """
import time, torch
from torch._dynamo.utils import counters

def train(trial):
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    forward = torch.compile(model)
    for _ in range(60):
        if time.monotonic() < trial.deadline:
            forward(torch.ones(4, 8)).sum().backward()
    print("claim hits", counters["inductor"]["fxgraph_cache_hit"])
    return model
"""


@pytest.fixture
def on_cpu(monkeypatch, trial, tmp_path, kjv):
    """A trial that is compiled ahead on a core, as it would be on a GPU."""
    monkeypatch.setattr(compiled, "KINDS", frozenset({"cpu"}))
    tmp_path.chmod(0o755)
    return replace(trial, rung=Rung(depth=1, seconds=60.0))


def test_the_trials_of_a_candidate_find_what_was_compiled_before(on_cpu):
    """Once for all seeds, on as many tokens of noise, after PASSES backward passes; no locks."""
    (Path(on_cpu.genome) / "train.py").write_text(STAND_IN)
    ran = []

    def confine(policy, argv, log, source):
        ran.append("--ahead" in argv)
        return run(policy, argv, log, source)

    with Zygote(on_cpu.slice) as source:
        confined = partial(confine, source=source)
        outcomes = [measure(replace(on_cpu, seed=seed), confined, "h") for seed in (1, 2)]
    with tarfile.open(compiled.archive_of(on_cpu)) as tar:
        assert tar.getnames() == [f"kernel-{compiled.NOISE_TOKENS}"]
    assert [ahead for ahead in ran if ahead] == [True]
    for outcome in outcomes:
        assert f"found ['kernel-{compiled.NOISE_TOKENS}']" in outcome.tail
        assert outcome.claims["passes"] == 100
    assert outcomes[0].seconds["build"] > outcomes[1].seconds["build"]


def test_what_fails_or_does_not_compile_is_left_to_the_trial(on_cpu):
    """One that breaks gets an empty archive, one without a compiler none; only so many stay."""

    def confine(policy, argv, log):
        log.write_text("it failed")

    source = Path(on_cpu.genome) / "train.py"
    source.write_text("import torch")
    TASK.make_ready(on_cpu, confine)
    assert compiled.archive_of(on_cpu) is None
    source.write_text("torch.compile()")
    for number in range(compiled.KEPT + 3):
        last = replace(on_cpu, commit=f"c{number}")
        TASK.make_ready(last, confine)
    with tarfile.open(compiled.archive_of(last)) as tar:
        assert tar.getnames() == []
    assert len(list(compiled.archive_of(last).parent.iterdir())) == compiled.KEPT
    TASK.make_ready(replace(on_cpu, commit="c", rung=Rung(1, 5.0)), confine)
    assert compiled.archive_of(replace(on_cpu, commit="c")) is None


def test_the_harness_id_says_so():
    """Scores of trials that are compiled ahead compare with no others."""
    assert harness_id("d" * 64, "cuda", torch=True).endswith("-precompiled-cuda")
    assert harness_id("d" * 64, "cuda-1of2", torch=True).endswith("-precompiled-cuda-1of2")
    assert "precompiled" not in harness_id("d" * 64, "cpu", torch=True)
    assert "precompiled" not in harness_id("d" * 64, "cuda", torch=False)


@pytest.mark.soak
def test_torch_finds_its_kernels_again(on_cpu):
    """With the real compiler: the trial takes its graphs from the cache instead of compiling."""
    (Path(on_cpu.genome) / "train.py").write_text(REAL)
    trial = replace(on_cpu, rung=Rung(depth=1, seconds=400.0))
    with Zygote(trial.slice) as source:
        outcome = measure(trial, partial(run, source=source), "h")
    assert outcome.claims["hits"] > 0, outcome
