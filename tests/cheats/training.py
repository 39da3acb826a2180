"""Forty training steps for the honest networks, which add what they mix to the bigram model."""

from __future__ import annotations

import numpy as np
import torch
from honest_bigram import Bigram
from torch import nn
from torch.nn import functional

WIDTH = 32


class Net(Bigram):
    """The bigram model and a network: embed, mix, read out. `mixer` is the subclass's layer."""

    mixer: type[nn.Module]

    def __init__(self, vocab, context, depth):
        super().__init__(vocab, context, depth)
        self.embed = nn.Embedding(vocab, WIDTH)
        self.mix = self.mixer()
        self.head = nn.Linear(WIDTH, vocab)
        nn.init.zeros_(self.head.weight)

    def forward(self, tokens):
        x = self.embed(tokens)
        x = x + self.mix(functional.layer_norm(x, (WIDTH,)))
        return super().forward(tokens) + self.head(functional.layer_norm(x, (WIDTH,)))


def fitter(build):
    """Return the `train` of a genome whose model takes forty steps."""

    def train(trial):
        model = build(trial.vocab, trial.context, trial.depth)
        model.learn(trial.tokens)
        random = np.random.default_rng(trial.seed)
        adam = torch.optim.Adam(model.parameters(), 0.003)
        for _ in range(40):
            starts = random.integers(len(trial.tokens) - trial.context - 1, size=4)
            rows = np.stack([trial.tokens[s : s + trial.context + 1] for s in starts])
            tokens = torch.from_numpy(rows.astype(np.int64))
            loss = functional.cross_entropy(
                model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()
            )
            adam.zero_grad()
            loss.backward()
            adam.step()
        return model

    return train
