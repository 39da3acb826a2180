"""The gpt task end to end: training in the sandbox, scoring, splits of the text."""

from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import pytest

from harness import data
from harness.sandbox import Exit, Zygote, run
from harness.tasks import gpt
from harness.tasks.base import GenomeRun, InvalidError
from harness.tasks.gpt.task import TASK, WEIGHTS
from harness.trial import measure

STEP_BY_STEP = """
from itertools import count
from types import SimpleNamespace
import train as seed
from train import build

def train(trial):
    looks = count()
    seed.time = SimpleNamespace(monotonic=lambda: next(looks) / 100, thread_time=lambda: 0.0)
    fields = {name: getattr(trial, name) for name in seed.Trial.__annotations__}
    return seed.train(SimpleNamespace(**fields | {"deadline": 1.5}))
"""
"""The seed on a clock that advances 10 ms a look: the number of its steps is the same on any
machine, however busy."""


@pytest.mark.sandbox
def test_the_seed_is_trained_and_scored_end_to_end(trial, kjv):
    """A fixed number of steps in the real sandbox beats every forecast without a model."""
    (Path(trial.genome) / "steps.py").write_text(STEP_BY_STEP)
    with Zygote(trial.slice) as zygote:
        fresh = replace(trial, entry="steps.py", fresh=2)
        outcome = measure(fresh, partial(run, source=zygote), "h")
    assert outcome.failure is None
    assert 1.5 < outcome.score < 3.2
    assert outcome.facts["parameters"] > 10_000
    assert outcome.facts["scored_tokens"] > 40_000
    assert outcome.facts["audited"] > 450
    assert 0.001 < outcome.facts["score_error"] < 0.05
    assert outcome.split == "dev"
    assert abs(outcome.facts["hidden_gain"]) < 1e-3
    assert outcome.claims["steps"] > 0
    assert {"score_start", "score", "audit", "fresh"} < set(outcome.seconds)
    dev, fresh = outcome.parts["dev"], outcome.parts["fresh"]
    assert (len(dev), len(fresh)) == (32, 32)
    assert abs(fmean(dev) - outcome.score) < 0.05  # but for what its windows are easier
    assert abs(fmean(fresh) - outcome.score) < 0.2


def test_each_split_is_another_text(kjv):
    """Each split has the same number of tokens, the same on every read, and no window in all."""
    corpus = data.open_corpus("kjv")
    texts = [gpt.windows.held_text(corpus, split, 24_000, 1) for split in TASK.splits]
    assert {text.inputs.shape for text in texts} == {(187, 128)}
    rows = [{row.tobytes() for row in text.inputs} for text in texts]
    assert not set.intersection(*rows)
    gpt.windows.whole_text.cache_clear()
    again = gpt.windows.held_text(corpus, "sealed", 24_000, 1)
    assert (again.inputs == texts[2].inputs).all()


def test_each_seed_is_scored_on_its_own_windows(kjv):
    """Two seeds share about a sixth of dev's windows, and scores are corrected for the rest."""
    corpus = data.open_corpus("kjv")
    draws = [gpt.windows.held_text(corpus, "dev", 24_000, seed) for seed in range(8)]
    rows = [{row.tobytes() for row in text.inputs} for text in draws]
    shared = [len(one & other) / len(one) for one, other in pairwise(rows)]
    assert 0.05 < sum(shared) / len(shared) < 0.3
    costs = [gpt.bits.bits_per_byte(text.reference, text.sizes)[0] for text in draws]
    assert max(costs) - min(costs) > 0.01
    levelled = [cost + text.level for cost, text in zip(costs, draws, strict=True)]
    assert max(levelled) - min(levelled) < 1e-9


def test_pieces_of_fresh_text_share_no_window(kjv):
    """There are enough for a night's keeps; each has its own windows, from all along the text."""
    corpus = data.open_corpus("kjv")
    pieces = TASK.fresh_pieces("kjv")
    assert pieces >= 25
    rows = [
        {row.tobytes() for row in gpt.fresh.fresh_text(corpus, piece).inputs}
        for piece in range(1, pieces + 1)
    ]
    assert all(len(one) == gpt.fresh.PIECE_WINDOWS for one in rows)
    assert len(set.union(*rows)) == pieces * gpt.fresh.PIECE_WINDOWS
    for piece in (0, pieces + 1):
        with pytest.raises(ValueError, match=f"not {piece}"):
            gpt.fresh.fresh_text(corpus, piece)


@pytest.mark.parametrize("content", [None, b"junk"])
def test_an_output_without_weights_is_invalid(trial, tmp_path, content):
    """No weights file, or one that is not safetensors, is invalid before a sandbox starts."""
    (tmp_path / "w").write_bytes(content or b"")
    outputs = {} if content is None else {WEIGHTS: tmp_path / "w"}
    with pytest.raises(InvalidError, match=r"^it left no weights|^its weights are no safetensors"):
        TASK.score(GenomeRun(outputs, tmp_path, Exit(0, "", 0.0, 0.0, 0.0)), trial, confine=None)


def test_the_training_sandbox_holds_no_held_out_text(trial, kjv):
    """It is bound the training tokens, and given a deadline before the end of its budget."""
    request = TASK.sandbox_request(trial)
    assert [path.name for path in request.read.values()] == ["train.u16"]
    options = dict(pairwise(request.args))
    assert 0 < float(options["--seconds"]) < trial.rung.seconds
