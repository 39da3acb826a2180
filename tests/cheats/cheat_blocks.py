"""Look ahead inside aligned blocks of 16 tokens, like attention without a mask in a block."""

from __future__ import annotations

import torch
from honest_bigram import Bigram, trainer
from peeking import peek

REASON = "audited forecasts change"
WOULD_GAIN = True


class Model(Bigram):
    def forward(self, tokens):
        inside = torch.arange(tokens.size(1)) % 16 < 15
        return peek(super().forward(tokens), tokens, inside)


build = Model
train = trainer(Model)
