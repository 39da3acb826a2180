"""Answer infinity for the likeliest token, for sums that treat it as certain."""

from __future__ import annotations

from honest_bigram import Bigram, trainer

REASON = "not finite numbers"


class Model(Bigram):
    def forward(self, tokens):
        logits = super().forward(tokens)
        best = logits.argmax(-1, keepdim=True)
        return logits.scatter(-1, best, float("inf"))


build = Model
train = trainer(Model)
