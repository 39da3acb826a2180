"""Counts of pairs in the training text, and of the words that the row has used so far.

Most cheats here are this model with a look ahead: their gain is measured against it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class Bigram(nn.Module):
    """Tokens [B, T] in, logits [B, T, vocab] out."""

    def __init__(self, vocab, context, depth):
        super().__init__()
        self.context = context
        self.table = nn.Parameter(torch.zeros(vocab, vocab))

    def learn(self, tokens):
        """Set the table to the logarithm of smoothed counts."""
        vocab = len(self.table)
        pairs = tokens[:-1].astype(np.int64) * vocab + tokens[1:]
        counts = np.bincount(pairs, minlength=vocab * vocab).reshape(vocab, vocab)
        prior = (1 + np.bincount(tokens, minlength=vocab)) / len(tokens)
        chance = (counts + 64 * prior) / (counts.sum(1, keepdims=True) + 64)
        self.table.data = torch.from_numpy(np.log(chance).astype(np.float32))

    def forward(self, tokens):
        used = functional.one_hot(tokens, len(self.table)).float().cumsum(1)
        return self.table[tokens] + 0.4 * torch.log1p(used)


def trainer(build):
    """Return the `train` of a genome whose model learns all at once."""

    def train(trial):
        model = build(trial.vocab, trial.context, trial.depth)
        model.learn(trial.tokens)
        return model

    return train


build = Bigram
train = trainer(Bigram)
