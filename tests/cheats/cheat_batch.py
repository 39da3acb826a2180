"""Scale by the statistics of the batch, as batch normalisation in training mode does."""

from __future__ import annotations

from honest_bigram import Bigram, trainer

REASON = "audited forecasts change"


class Model(Bigram):
    def forward(self, tokens):
        logits = super().forward(tokens)
        return logits - 0.1 * logits.mean((0, 1))


build = Model
train = trainer(Model)
