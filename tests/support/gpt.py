"""A bigram model for the gpt task, and the sandbox's side of the protocol, played in-process."""

import math
import os
import struct
from dataclasses import replace
from itertools import pairwise

import numpy as np

from harness.sandbox.policy import Exit

VOCAB, CONTEXT, WINDOWS = 32, 16, 400


def bigram_logits():
    """A bigram model: logits [VOCAB, VOCAB], sharp enough to be worth knowing."""
    return np.random.default_rng(0).normal(size=(VOCAB, VOCAB)).astype(np.float32) * 2


class SandboxSide:
    """The sandbox's side of the protocol, played by this process or by a child."""

    def __init__(self, argv, policy=None):
        self.policy = policy
        options = dict(pairwise(argv))
        self.rows, self.context, self.vocab, self.channel, self.memory = (
            int(options[f"--{name}"]) for name in ("rows", "context", "vocab", "channel", "memory")
        )

    def ready(self):
        for _ in range(4):
            self.say()

    def say(self):
        os.write(self.channel, b".")

    def asked(self):
        """Yield the questions: tokens int32 [rows, length], and a position of each row or None."""
        while request := os.read(self.channel, 5):
            length, alone = struct.unpack("<i?", request)
            behind = 4 * self.rows * self.context * self.vocab
            raw = os.pread(self.memory, 4 * self.rows * (length + alone), behind)
            values = np.frombuffer(raw, np.int32)
            token_count = self.rows * length
            yield (
                values[:token_count].reshape(self.rows, length),
                values[token_count:] if alone else None,
            )

    def serve(self, forward):
        """Answer with `forward(tokens)` until the end."""
        self.ready()
        for tokens, positions in self.asked():
            logits = forward(tokens).astype(np.float32)
            answer = logits if positions is None else logits[np.arange(self.rows), positions]
            os.pwrite(self.memory, answer.tobytes(), 0)
            self.say()


def sandbox(behave):
    """A confine in which `behave(side)` plays the sandbox; it returns why it was killed."""

    def confine(policy, argv, log):
        return Exit(
            0, behave(SandboxSide(argv, policy)) or "", seconds=0.0, start=0.0, peak_mib=0.0
        )

    return confine


def served(make):
    """A confine whose every sandbox answers with a fresh `make()`."""
    return sandbox(lambda side: side.serve(make()))


def honest_model():
    """The bigram model itself."""
    table = bigram_logits()
    return lambda tokens: table[tokens]


def expected_bits(text):
    """The bits of each target under the bigram model, by the book, in float64."""
    logits = bigram_logits().astype(np.float64)[text.inputs]
    chosen = np.take_along_axis(logits, text.targets[..., None], axis=-1)[..., 0]
    return (np.log(np.exp(logits).sum(axis=-1)) - chosen) / math.log(2)


def beginning(text, count):
    """The first windows of a text."""
    return replace(
        text,
        inputs=text.inputs[:count],
        targets=text.targets[:count],
        sizes=text.sizes[:count],
        reference=text.reference[:count],
    )
