"""Look ahead only at the 0.2 % most surprising tokens: rarely, with a large gain each time."""

from __future__ import annotations

from honest_bigram import Bigram, trainer
from peeking import peek, surprise

REASON = "audited forecasts change"
WOULD_GAIN = True
LIMIT = 11.85  # nats; 99.8 % of the tokens that are scored cost the bigram model less


class Model(Bigram):
    def forward(self, tokens):
        logits = super().forward(tokens)
        return peek(logits, tokens, surprise(logits, tokens) > LIMIT, 15.0)


build = Model
train = trainer(Model)
