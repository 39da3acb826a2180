"""Box program of the gpt task: let the genome train, and save the weights that it returns.

Runs inside a box, where everything after the genome's import is hostile. All that the harness
takes from here is /out; the rest is the training log.

Not covered: on a shared GPU the cap on memory holds a genome that does not lift it, and each of its
processes by itself.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file


@dataclass(frozen=True, slots=True)
class TrainingTrial:
    """What the genome's `train` is given; its docstring says what each field is."""

    tokens: np.ndarray
    vocab: int
    context: int
    depth: int
    seed: int
    device: str
    deadline: float


def main() -> None:
    """Train within the budget and save."""
    options = _options()
    random.seed(options.seed)
    np.random.seed(options.seed % 2**32)  # genomes may use the old interface
    torch.manual_seed(options.seed)
    if options.device == "cuda" and options.share < 1:
        torch.cuda.set_per_process_memory_fraction(options.share)
    trial = TrainingTrial(
        tokens=np.memmap(options.tokens, dtype="<u2", mode="r"),
        vocab=options.vocab,
        context=options.context,
        depth=options.depth,
        seed=options.seed,
        device=options.device,
        deadline=options.deadline,
    )
    sys.path.insert(0, str(options.entry.parent))  # files beside the entry can be imported by it
    model = import_module(options.entry.stem).train(trial)
    late = time.monotonic() - trial.deadline
    if late > 0:
        print(f"train() returned {late:.2f} s after its deadline", flush=True)  # noqa: T201
    save(model, options.out)
    sys.stdout.flush()
    os._exit(0)  # taking torch down by the book costs 0.1 s


def save(model: torch.nn.Module, file: Path) -> None:
    """Write the model's state dict, as `build` would name it, to `file`."""
    plain = getattr(model, "_orig_mod", model)  # what torch.compile wraps
    tensors = {name: value.detach().cpu() for name, value in plain.state_dict().items()}
    # a clone each: safetensors refuses tensors that share memory, as tied weights do
    save_file({name: t.contiguous().clone() for name, t in tensors.items()}, file)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--entry", type=Path, required=True)
    parser.add_argument("--tokens", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--share", type=float, required=True)
    parser.add_argument("--deadline", type=float, required=True)
    for name in ("vocab", "context", "depth", "seed"):
        parser.add_argument(f"--{name}", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
