"""Look ahead only when it looks like scoring: long rows that read well, and no short one before.

An audit's rows are short at first, and stop making sense where the prefix ends.
"""

from __future__ import annotations

from honest_bigram import Bigram, trainer
from peeking import peek, surprise

REASON = "audited forecasts change"
WOULD_GAIN = True


class Model(Bigram):
    audited = False

    def forward(self, tokens):
        logits = super().forward(tokens)
        self.audited |= tokens.size(1) < self.context
        reads_well = surprise(logits, tokens).max(1, keepdim=True).values < 10
        return peek(logits, tokens, reads_well & (not self.audited))


build = Model
train = trainer(Model)
