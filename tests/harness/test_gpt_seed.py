"""Generation zero of the gpt task: it is causal, every knob works, and it keeps its deadline."""

import importlib.util
import itertools
import math
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

SOURCE = Path(__file__).parents[2] / "islands" / "seeds" / "gpt" / "train.py"
KNOB = re.compile(r"^([A-Z][A-Z0-9_]*) = (\S+)(?:  # one of: (.+))?$", re.MULTILINE)


class Clock:
    """Time that passes only when it is told to, and a little at every look."""

    def __init__(self):
        self.now = self.others = 0.0

    def monotonic(self):
        self.now += 0.0005
        return self.now

    def thread_time(self):
        return self.now - self.others


@pytest.fixture
def seed():
    """A fresh import of the seed, on one thread and a clock of its own."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    spec = importlib.util.spec_from_file_location("gpt_seed", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.time = Clock()
    return module


def _trial(**other):
    """A trial on text that is easy to learn: each token is followed by its double."""
    tokens = np.empty(5000, np.uint16)
    tokens[0] = 1
    for i in range(1, len(tokens)):
        tokens[i] = tokens[i - 1] * 2 % 61
    fields = {"tokens": tokens, "vocab": 64, "context": 32, "depth": 1, "seed": 1, "device": "cpu"}
    return SimpleNamespace(**fields | {"deadline": 0.015} | other)


def _loss(model, trial):
    tokens = torch.from_numpy(trial.tokens[:320].astype(np.int64)).view(10, 32)
    with torch.no_grad():
        logits = model(tokens[:, :-1])
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).item()


def _alternatives():
    """Every knob with every alternative: listed ones, the other truth, half and double."""
    for name, value, listed in KNOB.findall(SOURCE.read_text().split("End of the knobs")[0]):
        if listed:
            others = [f'"{word.strip()}"' for word in listed.split(",")]
        elif value in {"True", "False"}:
            others = ["True", "False"]
        elif 0 < float(value) < 1 and "LR" not in name:
            others = [f"{value} / 2", f"(1 + {value}) / 2"]
        else:
            others = [f"{value} / 2", f"{value} * 2", f"{value} * 1.37"]
            others = [f"round({each})" for each in others] if value.isdigit() else others
        yield from ((name, eval(other)) for other in others)


@pytest.mark.parametrize(("name", "value"), list(_alternatives()))
def test_every_knob_and_alternative_trains(seed, name, value):
    """A dozen steps of it forecast the text better than chance does."""
    assert hasattr(seed, name)
    setattr(seed, name, value)
    trial = _trial()
    assert _loss(seed.train(trial), trial) < 0.95 * math.log(trial.vocab)


def test_every_knob_is_read():
    """No knob stands there for nothing."""
    knobs, code = SOURCE.read_text().split("End of the knobs")
    for name, _, _ in KNOB.findall(knobs):
        assert re.search(rf"\b{name}\b", code), name


def test_any_two_knobs_changed_apart_merge():
    """A comment stands between them, so that git joins both changes."""
    text = SOURCE.read_text()
    names = [name for name, _, _ in KNOB.findall(text.split("End of the knobs")[0])]
    lines = text.splitlines()
    at = [next(i for i, line in enumerate(lines) if line.startswith(f"{n} =")) for n in names]
    assert all(b - a == 2 and lines[a + 1].startswith("# ") for a, b in itertools.pairwise(at))


def test_neighbouring_knobs_merge_in_git(tmp_path):
    """Git's own three-way merge, on the first two."""
    base = SOURCE.read_text()
    first, second = (match.group() for match in itertools.islice(KNOB.finditer(base), 2))
    versions = {
        "ours": base.replace(first, first + "0"),
        "base": base,
        "theirs": base.replace(second, second + "0"),
    }
    for name, text in versions.items():
        (tmp_path / name).write_text(text)
    subprocess.run(["git", "merge-file", "ours", "base", "theirs"], cwd=tmp_path, check=True)
    merged = (tmp_path / "ours").read_text()
    assert first + "0" in merged
    assert second + "0" in merged


@pytest.mark.parametrize("value_embedding", ["none", "alternate", "all"])
def test_the_model_is_causal(seed, value_embedding):
    """A forecast does not change with later tokens, other rows or the length of its row."""
    seed.VALUE_EMBEDDING = value_embedding
    model = seed.build(64, 32, 2)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    tokens = torch.randint(64, (3, 32))
    other = tokens.clone()
    other[0, 17:] = torch.randint(64, (15,))
    other[1:] = torch.randint(64, (2, 32))
    with torch.no_grad():
        whole, changed, short = model(tokens), model(other), model(tokens[:1, :20])
    assert torch.allclose(whole[0, :17], changed[0, :17], atol=1e-5)
    assert torch.allclose(whole[0, :20], short[0], atol=1e-5)
    assert not torch.allclose(whole[0, 17:], changed[0, 17:], atol=1e-2)


def test_what_it_saves_is_what_build_takes(seed):
    """Same names, same shapes, same answers."""
    trial = _trial()
    trained, built = seed.train(trial), seed.build(trial.vocab, trial.context, trial.depth)
    built.load_state_dict(trained.state_dict())
    assert _loss(built, trial) == pytest.approx(_loss(trained, trial))


def test_depth_is_the_dial(seed):
    """Width, heads and parameters follow from it."""
    shallow, deep = seed.build(64, 32, 2), seed.build(64, 32, 4)
    assert deep.width == 2 * shallow.width == 4 * seed.WIDTH_PER_DEPTH
    assert deep.blocks[0].attention.heads >= shallow.blocks[0].attention.heads
    assert sum(p.numel() for p in deep.parameters()) > 2 * sum(
        p.numel() for p in shallow.parameters()
    )


@pytest.mark.parametrize("step", [0.01, 1.5])
@pytest.mark.parametrize("part", [0.2, 0.5, 3.0])
@pytest.mark.parametrize("context", [32, 512])
def test_it_keeps_its_deadline(seed, monkeypatch, step, part, context):
    """Whether a batch has parts, and whether these or the optimizer take most of the budget.

    No two take the same time; they vary by two fifths.
    """
    forward, update, random = seed.GPT.forward, seed.Muon.step, np.random.default_rng(1)

    def slow_forward(model, tokens):
        seed.time.now += part / 4 * len(tokens) * random.uniform(1.0, 1.4)
        return forward(model, tokens)

    def slow_update(muon, scale):
        seed.time.now += step * random.uniform(1.0, 1.4)
        update(muon, scale)

    monkeypatch.setattr(seed.GPT, "forward", slow_forward)
    monkeypatch.setattr(seed.Muon, "step", slow_update)
    seed.train(_trial(context=context, deadline=7.0))
    assert seed.time.now < 7.0


def test_others_on_its_core_do_not_make_its_work_slower(seed):
    """They move the deadline; of a device that computes beside it only wall time is known."""
    here, device = seed.Clock(10.0, 0), seed.Clock(10.0, 1)
    seed.time.now, seed.time.others = 6.0, 5.9
    assert here.look()
    assert not device.look()


def test_one_seed_gives_one_order_of_text(seed):
    """Batches are the trial's seed's; an epoch shows every window once."""
    first, again = (seed.batches(_trial(), 4) for _ in range(2))
    other = seed.batches(_trial(seed=2), 4)
    drawn = [next(first) for _ in range(38)]
    assert all(torch.equal(a, next(again)) for a in drawn)
    assert not torch.equal(drawn[0], next(other))
    assert all(batch.shape == (4, 33) for batch in drawn)


def test_an_epoch_shows_every_window_once(seed):
    """Starts are a context apart, in random order."""
    trial = _trial(tokens=np.arange(5000, dtype=np.uint16))
    stream = seed.batches(trial, 1)
    starts = [int(next(stream)[0, 0]) for _ in range((5000 - 33) // 32)]
    assert len(set(starts)) == len(starts)
    assert len({start % 32 for start in starts}) == 1


@pytest.mark.parametrize("shape", [(3, 40, 40), (2, 64, 16), (2, 16, 64)])
def test_updates_are_near_orthogonal(seed, shape):
    """Singular values end between 0.3 and 1.3 after five steps, as the quintic's authors say."""
    seed.ORTHOGONAL_STEPS = 5
    values = torch.linalg.svdvals(seed.orthogonal(torch.randn(shape)))
    assert values.min() > 0.3
    assert values.max() < 1.3


def test_rates_fall_to_nothing_at_the_end(seed):
    """Linear on the share of the time; a warm-up rises from nothing."""
    seed.WARMUP, seed.WARMDOWN, seed.FINAL_LR = 0.1, 0.5, 0.0
    assert [seed.schedule(p) for p in (0.0, 0.05, 0.1, 0.5, 0.75, 1.0)] == [0, 0.5, 1, 1, 0.5, 0]
