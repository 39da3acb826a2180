"""The task `gpt`: train a small GPT within the budget, scored in bits per byte of held-out text.

The genome is given the training tokens and leaves weights. It is scored in a fresh box that holds
its source and the weights, and is asked for logits; log-softmax, targets and bytes stay here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.contract import SCREENING_AUDIT, Direction, Split, Trial
from harness.data import open_corpus, open_or_build
from harness.tasks.base import Confine, InvalidError, SandboxRequest, Scored
from harness.tasks.gpt.audit import audit
from harness.tasks.gpt.bits import bits_per_byte, score
from harness.tasks.gpt.logits import ScoredModel
from harness.tasks.gpt.weights import count_parameters
from harness.tasks.gpt.windows import held_text, most

WEIGHTS = "weights.safetensors"

MOST_BYTES = 1 << 30
"""Of weights: 268 million parameters in float32."""


def leeway(seconds: float) -> float:
    """Return the seconds that a budget keeps for saving the weights and for ending."""
    return 0.25 + 0.01 * seconds


def patience(seconds: float, audit: int = SCREENING_AUDIT) -> float:
    """Return the seconds that the model of a trial with this budget may take to be scored.

    To be audited it may take so many as well, and more where the audit is sharper. Generous, for a
    busy machine must not make a fair model invalid: a fair one is scored in a tenth of its budget,
    or a third where a CPU trains at depth 8.
    """
    return 30 + seconds * max(1.0, audit / SCREENING_AUDIT)


@dataclass(frozen=True, slots=True)
class Gpt:
    """The task's three answers."""

    name: str = "gpt"
    metric: str = "val_bpb"
    direction: Direction = "minimize"
    entry: str = "train.py"
    torch: bool = True
    splits: tuple[Split, ...] = ("dev", "hidden", "sealed")

    def prepare(self, data: str) -> str:
        """Return the digest of corpus `data`, which stands or came with the installation."""
        return open_or_build(data).digest

    def box(self, trial: Trial) -> SandboxRequest:
        """Say how to run `trial`; its clock starts now, a little before the budget's."""
        corpus, seconds = open_corpus(trial.data), trial.rung.seconds
        options = {
            "entry": f"/genome/{trial.entry}",
            "tokens": "/train.u16",
            "out": f"/out/{WEIGHTS}",
            "device": trial.slice.kind,
            "share": trial.slice.share,
            "vocab": corpus.vocab,
            "context": corpus.context,
            "depth": trial.rung.depth,
            "seed": trial.seed,
            "deadline": f"{time.monotonic() + seconds - leeway(seconds):.3f}",
        }
        read = {"/train.u16": corpus.train_file}
        return SandboxRequest(
            "gpt_train.py", _words(options), leaves={WEIGHTS: MOST_BYTES}, read=read
        )

    def preflight(self, trial: Trial) -> SandboxRequest:
        """Say how to look at `trial`'s genome: built at its depth, trained for a few steps."""
        corpus = open_corpus(trial.data)
        options = {
            "entry": f"/genome/{trial.entry}",
            "tokens": "/train.u16",
            "vocab": corpus.vocab,
            "context": corpus.context,
            "depth": trial.rung.depth,
            "seed": trial.seed,
            "memory-mib": trial.rung.memory_mib,
            "most-bytes": MOST_BYTES,
        }
        read = {"/train.u16": corpus.train_file}
        return SandboxRequest("gpt_preflight.py", _words(options), leaves={}, read=read)

    def score(self, left: Mapping[str, Path], trial: Trial, confine: Confine) -> Scored:
        """Return the bits per byte of the trial's part under the model whose weights were left.

        Facts beside it: `score_error` is its standard error, in bits per byte; `hidden_gain` is
        what the audit estimates that the model gained by peeking, in bits a token, with its error.
        """
        if WEIGHTS not in left:
            raise InvalidError(f"it left no {WEIGHTS}")
        parameters = count_parameters(left[WEIGHTS])
        corpus, seconds = open_corpus(trial.data), trial.rung.seconds
        model = ScoredModel(trial, left[WEIGHTS], corpus.vocab, corpus.context)
        limit = most(trial.rung, trial.slice)
        text = held_text(corpus.name, corpus.digest, trial.split, limit)
        began = time.monotonic()
        cost, start = score(model, text, confine, patience(seconds))
        scored = time.monotonic()
        found = audit(model, text, cost, confine, patience(seconds, trial.audit))
        value, error = bits_per_byte(cost, text.sizes)
        return Scored(
            score=value,
            facts={
                "parameters": parameters,
                "scored_tokens": int((text.sizes > 0).sum()),
                "score_error": error,
                "audited": found.spots,
                "mismatches": 0,  # one is enough for the trial to be invalid
                "hidden_gain": found.hidden_gain,
                "hidden_gain_error": found.hidden_gain_error,
            },
            seconds={
                "score_start": start,
                "score": scored - began - start,
                "audit": time.monotonic() - scored,
            },
        )


def _words(options: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(word for name, value in options.items() for word in (f"--{name}", str(value)))


TASK = Gpt()
