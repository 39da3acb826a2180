"""Remember the triples of tokens in every batch, and count them from then on.

Windows of one scoring lie far apart, so that remembered pairs are worth nothing: the honest table
has them all. Triples, which it lacks, gain about 0.002 bits per byte in any order of the batches.
"""

from __future__ import annotations

import torch
from honest_bigram import Bigram, trainer

REASON = "audited forecasts change"
WOULD_GAIN = True
BITS, MIX = 14, 2654435761  # rows of the memory, and what spreads pairs of tokens over them


class Model(Bigram):
    def __init__(self, vocab, context, depth):
        super().__init__(vocab, context, depth)
        self.register_buffer("seen", torch.zeros(1 << BITS, vocab), persistent=False)

    def forward(self, tokens):
        logits = super().forward(tokens)
        before = (tokens.roll(1, 1) * len(self.table) + tokens) * MIX % (1 << 32) >> (32 - BITS)
        logits += torch.log1p(self.seen[before] / (100 * logits.softmax(-1)))
        triples = before[:, 1:-1].flatten(), tokens[:, 2:].flatten()
        self.seen.index_put_(triples, torch.tensor(1.0), accumulate=True)
        return logits


build = Model
train = trainer(Model)
