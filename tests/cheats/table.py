"""Prints the table of model cheats: `python tests/cheats/table.py [RUNS]`.

Measures every cheat_* file once and every honest_* file RUNS times (20), in the real sandbox on the
real corpus, and prints the result of each: its score before the audit, in bits per byte above the
honest bigram model's, and how it ended.

A file is a genome's entry: `train(trial)` and `build(vocab, context, depth)`. A cheat may also set
`REASON`, a pattern of the reason for which it is invalid; `RACES = True`, if it must be fast for
that and is otherwise no better than honest; and `WOULD_GAIN = True`, if its score would be better
than honest without the audit. A noop_* file is a proposal that turns honest_bigram.py into it.
Files with other names are helpers that genomes may import.
"""

from __future__ import annotations

import ast
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import patch

from harness.contract import Outcome, Rung, Slice, Trial
from harness.sandbox import Zygote, run
from harness.tasks.base import Confine
from harness.tasks.gpt import task as gpt
from harness.tasks.gpt.bits import bits_per_byte
from harness.trial import measure

HERE = Path(__file__).parent
BASE = "honest_bigram"
BUDGET_S = 10.0  # 12,000 tokens are scored
ROUNDING_BPB = 1e-4  # by which float32 logits may make a score look better

Measured = tuple[Outcome, float]
"""The outcome, and the score that it would have without an audit (nan if it has none)."""


def names(kind: str) -> list[str]:
    """Return the files of a kind (cheat, honest, noop)."""
    return sorted(path.stem for path in HERE.glob(f"{kind}_*.py"))


def constant(name: str, constant_name: str) -> object:
    """Return the value of a constant that a file sets, None if it does not."""
    for node in ast.parse((HERE / f"{name}.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == constant_name:
            return ast.literal_eval(node.value)
    return None


@dataclass(frozen=True)
class Bench:
    """A slice, prewarmed sandboxes and a folder of genomes."""

    slice: Slice
    folder: Path
    confine: Confine

    def measured(self, name: str, seed: int = 1) -> Measured:
        """Run one file as a trial; return its outcome and its score without the audit."""
        unaudited = [float("nan")]

        def audit(model, text, cost, *rest):
            unaudited[0] = bits_per_byte(cost, text.sizes)[0] + text.level
            return AUDIT(model, text, cost, *rest)

        with patch.object(gpt, "audit", audit):
            outcome = measure(self.trial(name, seed), self.confine, "harness")
        return outcome, unaudited[0]

    def trial(self, name: str, seed: int) -> Trial:
        """Return the trial of a file."""
        return Trial(
            id=name,
            task="gpt",
            data="kjv",
            commit="-",
            seed=seed,
            rung=Rung(depth=1, seconds=BUDGET_S),
            slice=self.slice,
            genome=str(self.folder),
            entry=f"{name}.py",
            scratch=str(self.folder.with_name("scratch")),
        )


AUDIT = gpt.audit


@contextmanager
def bench(folder: Path, on: Slice | None = None) -> Iterator[Bench]:
    """Prepare the corpus, a copy of the genomes in `folder`, and sandboxes on a slice: one core."""
    gpt.TASK.prepare("kjv")
    slice_ = on or Slice("cpu0", "cpu", (min(os.sched_getaffinity(0)),))
    genomes = folder / "cheats"
    shutil.copytree(HERE, genomes, ignore=shutil.ignore_patterns("__pycache__", "table.py"))
    (folder / "scratch").mkdir()
    folder.chmod(0o755)
    with Zygote(slice_) as zygote:
        yield Bench(slice_, genomes, partial(run, source=zygote))


def main(runs: int) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder, bench(Path(folder)) as on:
        honest, _ = on.measured(BASE)
        for name in names("cheat"):
            _print(name, on.measured(name), honest)
        for name in names("honest"):
            results = [on.measured(name, seed) for seed in range(runs)]
            passed = sum(outcome.failure is None for outcome, _ in results)
            _print(f"{name}, {passed} of {runs} pass", results[-1], honest)


def _print(name: str, result: Measured, honest: Outcome) -> None:
    outcome, unaudited = result
    seconds = sum(outcome.seconds.values())
    better = outcome.score is not None and outcome.score < honest.score - ROUNDING_BPB
    end = "better than honest" if better else "no better than honest"
    if outcome.failure:
        end = f"invalid: {outcome.failure.reason}"
    print(f"{name:36} {unaudited - honest.score:+8.4f} bpb {seconds:5.1f} s  {end}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
