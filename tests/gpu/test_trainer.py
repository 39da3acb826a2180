"""The gpt task on a GPU: speed, memory, score, audit."""

import re
import sys
from dataclasses import replace
from functools import partial
from importlib import util

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.contract import Rung
from harness.data import open_corpus
from harness.preflight import preflight
from harness.sandbox import SandboxPolicy, Zygote, python_argv, run
from harness.tasks.base import RUNNERS
from harness.tasks.gpt import audit as auditing
from harness.tasks.gpt.bits import bits, shuffled
from harness.tasks.gpt.logits import Question, ScoredModel, ask
from harness.tasks.gpt.task import TASK
from harness.tasks.gpt.windows import held_text
from harness.trial import claims, measure
from tests.cheats import table
from tests.support.gpu import SEED

pytestmark = pytest.mark.gpu

CHEATS = ("cheat_batch", "cheat_dropout", "cheat_experts")
"""Those that run on any device."""

ROUNDED = """
import torch, train as seed

class Model(torch.nn.Module):
    def __init__(self, *shape):
        super().__init__()
        self.inner = seed.build(*shape)

    def forward(self, tokens):
        with torch.autocast(tokens.device.type, torch.bfloat16):
            return self.inner(tokens).float()

def build(*shape):
    return Model(*shape)
"""
"""The seed, scored in bfloat16: honest, and as inexact as an honest model gets."""


def matrix_flops(vocab, context, depth):
    """Return the arithmetic of a token, forwards and backwards, in the seed's matrices."""
    spec = util.spec_from_file_location("gpu_seed", SEED / "train.py")
    seed = sys.modules["gpu_seed"] = util.module_from_spec(spec)
    spec.loader.exec_module(seed)
    with torch.device("meta"):
        model = seed.build(vocab, context, depth)
    matrices = [*model.blocks.parameters(), model.head.weight]
    attention = 12 * depth * model.width * context / 2  # half of the positions are masked
    return 6 * sum(m.numel() for m in matrices if m.ndim == 2) + attention


def speed(device, figure, claimed, seconds, shape):
    """Record tokens a second and, on a known GPU, the share of its arithmetic that is used."""
    rate = claimed["tokens"] / seconds
    figure("tokens_s", rate)
    if device.peak_tflops:
        figure("mfu", matrix_flops(*shape) * rate / device.peak_tflops / 1e12)
    return rate


def test_a_trial_at_depth_8(device, figure, tmp_path):
    """One minute on the bundled text: steps, tokens, arithmetic, memory, score.

    A preflight's estimate of memory (weights, gradients, two moments) is below the peak.
    """
    depth, seconds = int(device.of(8, 2)), device.of(60.0, 8.0)
    TASK.prepare("kjv")
    corpus = open_corpus("kjv")
    trial = device.trial(tmp_path / "t", Rung(depth, seconds, 24576))
    looked = preflight(trial, device.slice, run)
    assert looked.ok, looked.reason
    with Zygote(device.slice) as source, device.watched() as seen:
        source.wait()
        outcome = measure(trial, partial(run, source=source), "h")
    assert outcome.failure is None, outcome.failure
    figure("val_bpb", outcome.score)
    figure("steps", int(outcome.claims["steps"]))
    spent = seconds - outcome.seconds["start"]
    speed(device, figure, outcome.claims, spent, (corpus.vocab, corpus.context, depth))
    figure("peak_mib", round(max(seen) - seen[0]))
    figure("estimate_mib", looked.memory_mib)
    figure("parameters", looked.parameters)
    figure("host_mib", round(outcome.peak_mib))
    for phase in ("build", "score_start", "score", "audit"):
        figure(f"{phase}_s", round(outcome.seconds[phase], 2))
    assert outcome.seconds["budget"] < seconds + 1
    assert 0.5 < outcome.score < 2.6
    assert device.dry or looked.memory_mib < max(seen) - seen[0]


def test_speed_at_the_shape_of_web_text(device, figure, tmp_path):
    """Depth 8, vocabulary 8,192, rows of 2,048: autoresearch's shape, on random tokens."""
    vocab, context, depth = (8192, 2048, 8) if not device.dry else (512, 64, 2)
    seconds = device.of(25.0, 6.0)
    text = np.random.default_rng(1).integers(vocab, size=1 << 22).astype("<u2")
    for folder in (tmp_path, tmp_path.parent):
        folder.chmod(0o755)
    text.tofile(tmp_path / "text")
    (tmp_path / "out").mkdir()
    words = f"--entry /g/train.py --tokens /t --out /out/w --device {device.kind} --share 1"
    words += (
        f" --seconds {seconds - 3} --vocab {vocab} --context {context} --depth {depth} --seed 1"
    )
    policy = SandboxPolicy(
        device.slice,
        seconds + 30,
        24576,
        read={"/g": SEED, "/t": tmp_path / "text"},
        write={"/out": tmp_path / "out"},
    )
    argv = python_argv(RUNNERS / "gpt_train.py", *words.split())
    with device.watched() as seen:
        ended = run(policy, argv, tmp_path / "log")
    log = (tmp_path / "log").read_text()
    assert ended.code == 0, log
    said = claims(log)
    figure("steps", int(said["steps"]))
    figure("peak_mib", round(max(seen) - seen[0]))
    # from the second half of the steps: the first ones compile
    assert said["tokens"] > 0
    rate = said.get("tokens_s", said["tokens"] / ended.seconds)
    speed(device, figure, {"tokens": rate}, 1.0, (vocab, context, depth))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_honest_models_pass_the_audit(device, figure, tmp_path, precision):
    """Twenty audits of one trained model; the largest difference says what tolerance it takes."""
    TASK.prepare("kjv")
    corpus = open_corpus("kjv")
    seconds = device.of(6.0, 3.0)
    trial = device.trial(tmp_path / "t", Rung(int(device.of(4, 1)), seconds, 24576))
    with Zygote(device.slice) as source:
        request = TASK.sandbox_request(trial)
        (tmp_path / "out").mkdir()
        (tmp_path / "t/scratch/t").mkdir(parents=True)
        policy = SandboxPolicy(
            device.slice,
            seconds + 5,
            24576,
            read={"/genome": tmp_path / "t/genome", **request.read},
            write={"/out": tmp_path / "out"},
        )
        argv = python_argv(RUNNERS / request.runner, *request.args)
        ended = run(policy, argv, tmp_path / "log", source)
        assert ended.code == 0, (tmp_path / "log").read_text()
        weights = tmp_path / "out/weights.safetensors"
        if precision == "bfloat16":
            weights = renamed(weights, "inner.")
            (tmp_path / "t/genome/rounded.py").write_text(ROUNDED)
            trial = replace(trial, entry="rounded.py")
        # twenty audits in one sandbox take the CPU time of a long trial's
        longer = replace(trial, rung=replace(trial.rung, seconds=1200.0))
        model = ScoredModel(longer, weights, corpus.vocab, corpus.context)
        text = held_text(corpus, "dev", int(device.of(40_000, 4_000)), 1)
        audits = int(device.of(20, 2))
        cost, rises = audited(model, text, partial(run, source=source), audits)
    tolerance = auditing.TOLERANCE_BITS[device.kind]
    worst = [float(np.nanmax(np.abs(rise))) for rise in rises]
    figure("bpb", float(cost.sum() / text.sizes.sum()))
    figure("worst_bits", max(worst))
    figure("median_bits", float(np.nanmedian(np.abs(np.concatenate(rises)))))
    figure("tolerance", tolerance)
    figure("passed", f"{sum(w <= tolerance for w in worst)}_of_{audits}")
    if precision == "float32":
        assert max(worst) <= tolerance


def renamed(weights, prefix):
    """Write the same weights under longer names beside the file; return the new one."""
    other = weights.with_name("renamed.safetensors")
    save_file({prefix + name: value for name, value in load_file(weights).items()}, other)
    other.chmod(0o644)
    return other


def audited(model, text, confine, audits):
    """Score a model once, then audit it so often in one sandbox; return its cost and the rises."""
    random = np.random.default_rng(1)
    batches = shuffled(len(text.inputs), model.rows, random)
    cost = np.full(text.targets.shape, np.nan)

    def take(i, logits):
        cost[batches[i]] = bits(logits, text.targets[batches[i]])

    ask(model, [Question(text.inputs[batch]) for batch in batches], confine, 300, take)
    rises, questions, places = [], [], []
    for number in range(audits):
        chosen = np.concatenate(auditing.choose(text.reference - cost, 512, random))
        for batch in auditing.arrange(chosen, model.context, model.rows):
            questions.append(auditing.question(batch, text, model.rows, random))
            places.append((number, batch))
        rises.append(np.full(cost.size, np.nan))

    def again(i, logits):
        number, batch = places[i]
        costs = bits(logits[: len(batch)], text.targets.ravel()[batch])
        rises[number][batch] = costs - cost.ravel()[batch]

    ask(model, questions, confine, 300, again)
    return cost, [rise[~np.isnan(rise)] for rise in rises]


def test_cheats_are_caught(device, figure, tmp_path):
    """Three models that use more than the tokens before are invalid on this device, too."""
    with table.bench(tmp_path, device.slice) as bench:
        for name in CHEATS:
            outcome, _ = bench.measured(name)
            figure(name, outcome.failure.kind if outcome.failure else "passed")
            assert outcome.failure is not None
            assert re.search(str(table.constant(name, "REASON")), outcome.failure.reason)
