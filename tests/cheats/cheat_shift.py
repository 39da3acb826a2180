"""Raise all logits of a row at once, for a sum that does not normalise them."""

from __future__ import annotations

import torch
from honest_bigram import Bigram, trainer


class Model(Bigram):
    def forward(self, tokens):
        return super().forward(tokens) + 64.0 * (1 + torch.arange(tokens.size(1))[:, None] % 5)


build = Model
train = trainer(Model)
