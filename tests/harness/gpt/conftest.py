"""A trial of the gpt seed, its model as the harness knows it, and text to score it on."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from harness.contract import Rung, Slice, Trial
from harness.tasks import gpt
from tests.support.gpt import CONTEXT, VOCAB, WINDOWS, bigram_logits

SEED = Path(__file__).parents[3] / "islands" / "seeds" / "gpt"

CORE = min(os.sched_getaffinity(0))


@pytest.fixture
def trial(tmp_path):
    """A trial whose genome is the seed."""
    genome = tmp_path / "genome"
    shutil.copytree(SEED, genome, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "scratch" / "t1").mkdir(parents=True)
    return Trial(
        id="t1",
        task="gpt",
        data="kjv",
        commit="c",
        seed=1,
        rung=Rung(depth=1, seconds=60),
        slice=Slice("cpu0", "cpu", (CORE,)),
        genome=str(genome),
        entry="train.py",
        scratch=str(tmp_path / "scratch"),
    )


@pytest.fixture
def model(trial, tmp_path, monkeypatch):
    """The candidate's model as the trusted side knows it; seven rows to a question."""
    monkeypatch.setattr(gpt.logits, "BATCH_BYTES", 7 * 4 * CONTEXT * VOCAB)
    weights = tmp_path / "weights"
    weights.write_bytes(b"")
    return gpt.logits.ScoredModel(trial, weights, VOCAB, CONTEXT)


@pytest.fixture(scope="module")
def text():
    """Windows of text that the bigram model made, and training text of the same kind."""
    random = np.random.default_rng(1)
    chance = np.exp(bigram_logits().astype(float)).cumsum(axis=1)
    chance /= chance[:, -1:]
    tokens = [0]
    for draw in random.random(2 * WINDOWS * CONTEXT):
        tokens.append(int(np.searchsorted(chance[tokens[-1]], draw)))
    half = WINDOWS * CONTEXT + 1
    dev, train = np.array(tokens[:half], np.uint16), np.array(tokens[half:], np.uint16)
    inputs, targets = gpt.windows.windows(dev, CONTEXT)
    reference = gpt.windows.bigram(train, inputs, targets, VOCAB)
    return gpt.windows.Windows(inputs, targets, targets % 3 + 1, reference, train)
