"""The task `gpt`: train a small GPT within the budget, scored in bits per byte of held-out text.

The genome is given the training tokens and leaves weights. They are scored in a fresh sandbox that
holds the genome's source and the weights and answers with logits; log-softmax, targets and byte
counts stay in the harness.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from harness.contract import FULL_AUDIT, SCREENING_AUDIT, Direction, Evidence, Split, Trial
from harness.data import Corpus, open_corpus, open_or_build
from harness.tasks.base import (
    BuiltInKind,
    Confine,
    GenomeRun,
    InvalidError,
    SandboxRequest,
    TaskScore,
)
from harness.tasks.gpt.audit import audit, audit_effort
from harness.tasks.gpt.bits import bits_per_byte, score
from harness.tasks.gpt.compiled import ARCHIVE, archive_of, compile_ahead
from harness.tasks.gpt.fresh import fresh_parts, fresh_pieces, fresh_text, part_scores
from harness.tasks.gpt.logits import ScoredModel
from harness.tasks.gpt.weights import count_parameters
from harness.tasks.gpt.windows import held_text, max_scored_tokens

WEIGHTS = "weights.safetensors"

MAX_WEIGHTS_BYTES = {"cpu": 1 << 30, "mps": 1 << 30, "cuda": 6 << 30}
"""268 million parameters in float32, and 1.6 billion: the seed has 0.9 at depth 24."""


COMPILE_PAYS_S = 60.0
"""The shortest budget of a CPU trial that sees a compiler and, with it, the system's files, through
which trials can pass notes (`harness.sandbox.backends.bubblewrap`). To compile takes 20 to 30 s; in
shorter trials `torch.compile` returns the model as it is."""


def save_margin_s(seconds: float) -> float:
    """Return the part of a budget of `seconds` that is kept for saving the weights and exiting."""
    return 0.25 + 0.01 * seconds


def scoring_timeout_s(seconds: float, audit: int = SCREENING_AUDIT) -> float:
    """Return the time limit for scoring the model of a trial with a budget of `seconds`.

    The audit has the same limit, longer if it covers more positions. It is generous, because a busy
    machine must not make a fair model invalid: one is scored in a twentieth of its budget.
    """
    return 30 + seconds * audit_effort(audit)


@dataclass(frozen=True, slots=True)
class Gpt:
    """The gpt task; see `harness.tasks.base.Task` for the fields."""

    name: str = "gpt"
    metric: str = "val_bpb"
    direction: Direction = "minimize"
    entry: str = "train.py"
    torch: bool = True
    splits: tuple[Split, ...] = ("dev", "hidden", "sealed")
    evidence: Evidence = "verified"
    preflights: bool = True

    def prepare(self, data: str) -> str:
        """Return the digest of corpus `data`; build it first if it is bundled."""
        return open_or_build(data).digest

    def fresh_pieces(self, data: str) -> int:
        """Return how many pieces of fresh text corpus `data` has."""
        return fresh_pieces(open_corpus(data))

    def make_ready(self, trial: Trial, confine: Confine) -> None:
        """Compile the genome, on a GPU (see `harness.tasks.gpt.compiled`)."""
        corpus = open_corpus(trial.data)
        compile_ahead(trial, corpus.vocab, _words(self._options(trial, corpus)), confine)

    def sandbox_request(self, trial: Trial) -> SandboxRequest:
        """Return how to run `trial`."""
        corpus, seconds = open_corpus(trial.data), trial.rung.seconds
        options, read = self._options(trial, corpus), {"/train.u16": corpus.train_file}
        if archive := archive_of(trial):
            options["compiled"] = f"/{ARCHIVE}"
            read[f"/{ARCHIVE}"] = archive
        return SandboxRequest(
            "gpt_train.py",
            _words(options),
            outputs={WEIGHTS: MAX_WEIGHTS_BYTES[trial.slice.kind]},
            read=read,
            bare=trial.slice.kind == "cpu" and seconds < COMPILE_PAYS_S,
        )

    def _options(self, trial: Trial, corpus: Corpus) -> dict[str, object]:
        """Return the options of the runner that trains."""
        seconds = trial.rung.seconds
        return {
            "entry": f"/genome/{trial.entry}",
            "tokens": "/train.u16",
            "out": f"/out/{WEIGHTS}",
            "device": trial.slice.kind,
            "share": trial.slice.share,
            "vocab": corpus.vocab,
            "context": corpus.context,
            "depth": trial.rung.depth,
            "seed": trial.seed,
            "seconds": f"{seconds - save_margin_s(seconds):.3f}",
        }

    def preflight_request(self, trial: Trial) -> SandboxRequest:
        """Return how to preflight `trial`'s genome: built at its depth, trained for a few steps."""
        corpus = open_corpus(trial.data)
        options = {
            "entry": f"/genome/{trial.entry}",
            "tokens": "/train.u16",
            "vocab": corpus.vocab,
            "context": corpus.context,
            "depth": trial.rung.depth,
            "seed": trial.seed,
            "memory-mib": trial.rung.memory_mib,
            "most-bytes": MAX_WEIGHTS_BYTES[trial.slice.kind],
        }
        read = {"/train.u16": corpus.train_file}
        bare = trial.slice.kind == "cpu"
        return SandboxRequest("gpt_preflight.py", _words(options), outputs={}, read=read, bare=bare)

    def score(self, run: GenomeRun, trial: Trial, confine: Confine) -> TaskScore:
        """Return the bits per byte of the trial's split under the model whose weights were left.

        It is measured on the windows that its seed draws, corrected for their difficulty. Among the
        facts, `score_error` is the score's standard error in bits per byte, and
        `hidden_gain` what the audit estimates that the model gained by look-ahead, in bits a token.
        """
        artifacts = run.artifacts
        if WEIGHTS not in artifacts:
            raise InvalidError(f"it left no {WEIGHTS}")
        parameters = count_parameters(artifacts[WEIGHTS])
        corpus, seconds = open_corpus(trial.data), trial.rung.seconds
        model = ScoredModel(trial, artifacts[WEIGHTS], corpus.vocab, corpus.context)
        limit = max_scored_tokens(trial.rung, trial.slice)
        text = held_text(corpus, trial.split, limit, trial.seed)
        began = time.monotonic()
        cost, start = score(model, text, confine, scoring_timeout_s(seconds))
        scored = time.monotonic()
        audited = audit(model, text, cost, confine, scoring_timeout_s(seconds, trial.audit))
        ended, parts = time.monotonic(), dict[str, tuple[float, ...]]()
        if trial.fresh:
            fresh, longest = fresh_text(corpus, trial.fresh), scoring_timeout_s(seconds, FULL_AUDIT)
            parts["dev"] = part_scores(cost, text.sizes)
            parts["fresh"] = fresh_parts(model, fresh, confine, longest)
        value, error = bits_per_byte(cost, text.sizes)
        return TaskScore(
            score=value + text.level,
            facts={
                "parameters": parameters,
                "scored_tokens": int((text.sizes > 0).sum()),
                "score_error": error,
                "audited": audited.positions,
                "mismatches": 0,  # with one the trial is invalid
                "hidden_gain": audited.hidden_gain,
                "hidden_gain_error": audited.hidden_gain_error,
            },
            seconds={
                "score_start": start,
                "score": scored - began - start,
                "audit": ended - scored,
                **({"fresh": time.monotonic() - ended} if trial.fresh else {}),
            },
            parts=parts,
        )


def _words(options: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(word for name, value in options.items() for word in (f"--{name}", str(value)))


TASK = Gpt()

KIND = BuiltInKind(TASK, default_data="kjv", needs=("torch", "safetensors", "rustbpe"))
