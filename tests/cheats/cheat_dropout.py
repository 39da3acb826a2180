"""Leave dropout on when scored: every question meets another model."""

from __future__ import annotations

from honest_bigram import Bigram, trainer
from torch.nn import functional

REASON = "audited forecasts change"


class Model(Bigram):
    def forward(self, tokens):
        known = self.table[tokens]
        return known + functional.dropout(super().forward(tokens) - known, 0.1, training=True)


build = Model
train = trainer(Model)
