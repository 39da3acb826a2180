"""Look ahead only at the last few tokens of a full row."""

from __future__ import annotations

import torch
from honest_bigram import Bigram, trainer
from peeking import peek

REASON = "audited forecasts change"
WOULD_GAIN = True


class Model(Bigram):
    def forward(self, tokens):
        tail = torch.arange(tokens.size(1)) >= self.context - 6
        return peek(super().forward(tokens), tokens, tail)


build = Model
train = trainer(Model)
