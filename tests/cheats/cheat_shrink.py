"""Truncate the memory that answers are read from, so that the reader dies or reads zeros."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from honest_bigram import Bigram, trainer


class Model(Bigram):
    def forward(self, tokens):
        if "--memory" in sys.argv:
            number = int(sys.argv[sys.argv.index("--memory") + 1])
            for size in (0, 5, 2 * os.fstat(number).st_size):
                with suppress(OSError):
                    os.truncate(number, size)
        return super().forward(tokens)


build = Model
train = trainer(Model)
