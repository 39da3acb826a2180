"""Benchmark of the gpt seed as a trainer: variants side by side at equal CPU time.

    python -m tests.benchmarks.bench_trainer [--seconds 20] [--seeds 4] [VARIANT ...]

A variant is `seed` (generation zero), `reference` (autoresearch's design, `reference_trainer.py`),
a file with the same interface, or changes of the seed's knobs: `DECAY=0.2,MATRIX_LR=0.04`. All are
trained in turn on one thread, on the same text and seeds, by a clock that counts this process's
CPU time alone, and scored on held-out text. Prints a line a run, with tokens a second and the share
of the core's arithmetic in products of matrices that they are (model FLOPs utilisation: what a
product of 1,024 rows and columns does is all of it), then each variant's mean and its mean
difference from the first variant, seed by seed, with the standard error.

Seen on two busy cores, three seeds, 20 s: reference 1.7643, generation zero before its revision
1.8309, now 1.6867 (1.6615 to 1.7189). At one seed: reference 9,620 tokens/s, 35 % MFU; generation
zero 9,451 tokens/s, 36 %.

CPU time leaves out what other programs take of the cores, not what they take of the caches: order
matters little, since the variants of one seed run one after the other.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import math
import re
import statistics
import time
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace

import torch
import torch.nn.functional as F  # noqa: N812
from torch.utils.flop_counter import FlopCounterMode

from harness.data import Corpus, open_or_build
from harness.tasks.gpt.task import save_margin_s
from harness.tasks.gpt.windows import windows

SEED = Path(__file__).parents[2] / "islands/seeds/gpt/train.py"
REFERENCE = Path(__file__).with_name("reference_trainer.py")


def main() -> None:
    """Train every variant on every seed, then print the table."""
    options = _options()
    torch.set_num_threads(1)
    corpus = open_or_build("kjv")
    scores: dict[str, list[float]] = {name: [] for name in options.variants}
    for seed in range(1, options.seeds + 1):
        for name in options.variants:
            scores[name].append(_run(name, seed, corpus, options))
    _print_table(scores)


def _run(name: str, seed: int, corpus: Corpus, options: argparse.Namespace) -> float:
    """Train one variant; print and return its bits per byte."""
    module = load(name)
    module.time = SimpleNamespace(monotonic=time.process_time, thread_time=time.process_time)
    torch.manual_seed(seed)
    began, said = time.process_time(), io.StringIO()
    trial = SimpleNamespace(
        tokens=corpus.tokens("train"),
        vocab=corpus.vocab,
        context=corpus.context,
        depth=options.depth,
        seed=seed,
        device="cpu",
        deadline=began + options.seconds - save_margin_s(options.seconds),
    )
    with contextlib.redirect_stdout(said):
        model = module.train(trial)
    used = time.process_time() - began
    steps, tokens = (
        int(re.search(rf"^claim {word} (\d+)", said.getvalue(), re.MULTILINE)[1])
        for word in ("steps", "tokens")
    )
    share = tokens / used * flops_per_token(model, corpus) / peak_flops()
    score = bits_per_byte(model.eval(), corpus)
    parameters = sum(p.numel() for p in model.parameters())
    print(
        f"{name:40} seed {seed}: {score:.4f} bpb, {steps} steps of {1e3 * used / steps:.0f} ms,"
        f" {tokens / used:,.0f} tokens/s, {share:.0%} MFU, {parameters:,} parameters",
        flush=True,
    )
    return score


def flops_per_token(model: torch.nn.Module, corpus: Corpus) -> float:
    """Return the arithmetic of a token, forwards and backwards, in products of matrices."""
    row = torch.zeros(1, corpus.context, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model(row).sum().backward()
    return counter.get_total_flops() / corpus.context


@cache
def peak_flops() -> float:
    """Return how many operations a second of CPU time a product of large matrices does here."""
    x = torch.randn(1024, 1024)
    x @ x
    began = time.process_time()
    for _ in range(4):
        x @ x
    return 4 * 2 * 1024**3 / (time.process_time() - began)


def load(name: str) -> ModuleType:
    """Return the module of a variant, freshly imported."""
    knobs = [] if "=" not in name else [change.split("=", 1) for change in name.split(",")]
    path = {"seed": SEED, "reference": REFERENCE}.get(name, SEED if knobs else Path(name))
    spec = importlib.util.spec_from_file_location("variant", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for knob, value in knobs:
        if not hasattr(module, knob):
            raise SystemExit(f"{name}: the seed has no knob {knob}")
        setattr(module, knob, eval(value))
    return module


@torch.inference_mode()
def bits_per_byte(model: torch.nn.Module, corpus: Corpus) -> float:
    """Return a model's score on the dev split, without the harness's sandboxes."""
    inputs, targets = windows(corpus.tokens("dev"), corpus.context)
    nats = 0.0
    for i in range(0, len(inputs), 16):
        logits = model(torch.from_numpy(inputs[i : i + 16]).long())
        goal = torch.from_numpy(targets[i : i + 16]).long().flatten()
        nats += F.cross_entropy(logits.flatten(0, 1), goal, reduction="sum").item()
    return nats / math.log(2) / int(corpus.token_bytes[targets].sum())


def _print_table(scores: dict[str, list[float]]) -> None:
    first = next(iter(scores.values()))
    for name, values in scores.items():
        gaps = [value - other for value, other in zip(values, first, strict=True)]
        error = statistics.stdev(gaps) / len(gaps) ** 0.5 if len(gaps) > 1 else math.nan
        print(
            f"{name:40} {statistics.mean(values):.4f} ({min(values):.4f} to {max(values):.4f}),"
            f" {statistics.mean(gaps):+.4f} ± {error:.4f}"
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="CPU seconds a run")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("variants", nargs="*", default=["reference", "seed"])
    return parser.parse_args()


if __name__ == "__main__":
    main()
