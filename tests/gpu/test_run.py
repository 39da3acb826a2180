"""A whole run on a GPU: two islands, a promotion at depth 12, measures, a merge."""

import json

import pytest

from tests.support import target

pytestmark = pytest.mark.gpu

GENOME = '''"""A model of pairs of tokens, learned with a rate that is far too low."""

import time

import torch
from torch import nn

# Learning rate.
RATE = 0.0002
# Rows a step.
ROWS = 16


class Model(nn.Module):
    def __init__(self, vocab, context, depth):
        super().__init__()
        width = 16 * depth
        self.embedding = nn.Embedding(vocab, width)
        self.head = nn.Linear(width, vocab)

    def forward(self, tokens):
        return self.head(self.embedding(tokens))


def build(vocab, context, depth):
    return Model(vocab, context, depth)


def train(trial):
    model = build(trial.vocab, trial.context, trial.depth).to(trial.device)
    adam = torch.optim.Adam(model.parameters(), RATE)
    text = torch.from_numpy(trial.tokens.astype("int64")).to(trial.device)
    steps = 0
    while time.monotonic() + 0.3 < trial.deadline and steps < 2000:
        starts = torch.randint(len(text) - trial.context - 1, (ROWS, 1), device=trial.device)
        rows = text[starts + torch.arange(trial.context + 1, device=trial.device)]
        logits = model(rows[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        adam.zero_grad()
        loss.backward()
        adam.step()
        steps += 1
    print("claim steps", steps)
    return model
'''


def measure_own_change(repo):
    """Commit a better rate, let `swarm measure` try it in pairs, and return what it says."""
    (repo / "genome/train.py").write_text(GENOME.replace("RATE = 0.0002", "RATE = 0.01"))
    target.git(repo, "commit", "-qam", "Learn faster")
    said = target.swarm(repo, "measure", "main~1..main", "--seeds", "2")
    return " ".join(said.split()[-12:])


def test_a_run_from_launch_to_merge(device, figure, tmp_path):
    """Islands keep what is better, the stack transfers or fades at depth 12, and merges."""
    repo = tmp_path / "repo"
    target.swarm(tmp_path, "init", repo, "--task", "gpt")
    (repo / "genome/train.py").write_text(GENOME)
    low, high = (3.0, 6.0) if device.dry else (4.0, 6.0)
    target.rewrite(
        repo,
        data="kjv",
        rungs=[
            {"depth": 2, "seconds": low, "memory_mib": 16384},
            {"depth": 12, "seconds": high, "memory_mib": 16384},
        ],
        slices={"kind": device.kind, "count": 1},
        islands=2,
        agent="mutator",
        promotion={"stack_pairs": 2},
    )
    minutes = device.of(1.4, 1.0)
    target.swarm(repo, "launch", "--minutes", minutes)
    events = target.ledger(repo)
    ended = [event for event in events if event["kind"] == "trial_ended"]
    verdicts = [event for event in events if event["kind"] == "verdict_reached"]
    kept = sum(event["verdict"] == "keep" and not event["null"] for event in verdicts)
    figure("trials", len(ended))
    figure("voids", sum(event["kind"] == "trial_voided" for event in events))
    figure("kept", kept)
    figure("trials_per_hour", round(60 * len(ended) / minutes))
    assert len(ended) > device.of(10, 0)  # in a dry run others may have the cores
    assert all(event["outcome"]["harness"].endswith(device.slice.device) for event in ended)
    target.swarm(repo, "status", "--json")
    if not kept:
        figure("own_change", measure_own_change(repo))
        pytest.skip(f"nothing was kept in {minutes:g} minutes; a change made by hand was measured")
    promoted = json.loads(target.swarm(repo, "promote", "--json"))
    figure("promotion", promoted["verdict"])
    figure("gain_at_12", promoted["after"]["gain"] if promoted.get("after") else "-")
    target.swarm(repo, "measure", "--kept", "--seeds", "2")
    if promoted["verdict"] == "transfers":
        assert "merged as" in target.swarm(repo, "merge", "--yes")
        figure("merged", 1)
