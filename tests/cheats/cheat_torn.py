"""Overwrite the answer with other logits after it was given, while it is read."""

from __future__ import annotations

import mmap
import sys
from threading import Thread

import numpy as np
import torch
from honest_bigram import Bigram, trainer
from peeking import peek

REASON = "audited forecasts change"
RACES = True


class Model(Bigram):
    late = None

    def forward(self, tokens):
        if self.late is None and "--memory" in sys.argv:
            number = int(sys.argv[sys.argv.index("--memory") + 1])
            self.memory = mmap.mmap(number, 0)
            Thread(target=self.overwrite, daemon=True).start()
        logits = super().forward(tokens)
        self.late = peek(logits, tokens, torch.tensor(True)).detach().numpy().ravel()
        return logits

    def overwrite(self):
        while True:
            late = self.late
            if late is not None:
                np.frombuffer(self.memory, np.float32, late.size)[:] = late


build = Model
train = trainer(Model)
