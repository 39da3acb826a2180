"""Look at the next token, everywhere."""

from __future__ import annotations

import torch
from honest_bigram import Bigram, trainer
from peeking import peek

REASON = "audited forecasts change"
WOULD_GAIN = True


class Model(Bigram):
    def forward(self, tokens):
        return peek(super().forward(tokens), tokens, torch.tensor(True))


build = Model
train = trainer(Model)
