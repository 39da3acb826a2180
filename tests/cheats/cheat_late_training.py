"""Train while being scored: `build` goes on where the budget has ended."""

from __future__ import annotations

import sys
import time

from honest_bigram import Bigram, trainer

REASON = "more time than building"
TRAINING_S = 8.0


class Model(Bigram):
    def __init__(self, vocab, context, depth):
        super().__init__(vocab, context, depth)
        began = time.process_time()
        while "--memory" in sys.argv and time.process_time() - began < TRAINING_S:
            sum(range(100_000))  # would be steps, on text that its weights bring along


build = Model
train = trainer(Model)
