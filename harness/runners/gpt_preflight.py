"""Box program of the gpt task: see whether a genome would come through a trial, on a small scale.

Runs inside a box, on a CPU whatever the trial's device. Nothing here is measured: a genome that
lies to it gets no further than its trial. In turn:

    the entry file is imported
    build() makes the model of the trial on the meta device: its parameters are counted
    train() runs a few steps on a short text, at a small depth and context
    what it returns goes into a model that build() made; forward() must forecast by it from what
    stands before alone

Where the small scale fails the trial's own is tried: a genome may hold to one depth. Time stands
all but still until the genome has made PASSES backward passes, then the budget is nearly over: it
trains a few steps on the slowest machine and waits for nothing on the fastest.

Not covered: torch.compile is switched off, and whatever a genome does on accelerators alone.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

DEPTH, CONTEXT, TOKENS = 2, 64, 1 << 15
"""The small scale: layers, tokens in a row, tokens of text."""

BUDGET_S = 4.0
"""Seconds that `train` is given; what makes no backward pass takes all of them."""

PASSES = 8
"""Backward passes: three steps and more, where a step takes one or two."""

REMAINING_S = 0.05
"""Seconds that are left after them."""

MAX_CHANGE_NATS = 1e-2
"""Nats by which a forecast may differ without what follows it; the audit of a trial is sharper."""

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class PreflightTrial:
    """What the genome's `train` is given; its docstring says what each field is."""

    tokens: np.ndarray
    vocab: int
    context: int
    depth: int
    seed: int
    device: str
    deadline: float


class PreflightClock:
    """Replaces time.monotonic: it leaps to the end once there were PASSES backward passes."""

    def __init__(self) -> None:
        self._real, self._ahead, self._passes, self._end = time.monotonic, 0.0, 0, 0.0

    def now(self) -> float:
        """Return the time that the genome is told."""
        return self._real() + self._ahead

    def start_budget(self) -> float:
        """Begin a budget; return its deadline."""
        self._passes, self._end = 0, self.now() + BUDGET_S
        return self._end

    def counted(self, function: Callable[..., object]) -> Callable[..., object]:
        """Return `function` as it is to be called by the genome: each call is a pass."""

        def call(*args: object, **named: object) -> object:
            result = function(*args, **named)
            self._passes += 1
            if self._passes == PASSES:
                self._ahead += max(0.0, self._end - REMAINING_S - self.now())
            return result

        return call


def main() -> None:
    """Look at the genome; an exception is what is wrong with it."""
    lower_session_priority()
    options, clock = _options(), PreflightClock()
    torch.set_num_threads(1)
    torch._dynamo.config.disable = True  # compiling takes half a minute of a core
    time.monotonic = clock.now
    torch.autograd.backward = clock.counted(torch.autograd.backward)  # type: ignore[assignment]
    torch.autograd.grad = clock.counted(torch.autograd.grad)  # type: ignore[assignment]
    report("began", 1)
    sys.path.insert(0, str(options.entry.parent))
    genome = import_module(options.entry.stem)
    check_size(genome, options)
    small = (min(options.depth, DEPTH), min(options.context, CONTEXT))
    if small != (options.depth, options.context):
        with suppress(Exception):  # the genome's, whatever it is: it is tried again as in a trial
            attempt(genome, options, clock, *small)
            exit_now()
    attempt(genome, options, clock, options.depth, options.context)
    exit_now()


def lower_session_priority() -> None:
    """Where we have a low priority, say so for our session as well.

    Linux shares a core among sessions first (sched_autogroup_enabled), and a box has one of its
    own: at SCHED_IDLE and nice 19 looks still took half of the core from a trial (measured).
    """
    if os.getpriority(os.PRIO_PROCESS, 0) > 0:
        with suppress(OSError):  # there are kernels without
            Path("/proc/self/autogroup").write_text("19")


def check_size(genome: ModuleType, options: argparse.Namespace) -> None:
    """Count the parameters of the trial's model; refuse one that cannot be held or left.

    A model that cannot be made without memory is not weighed: on the meta device code that looks
    at numbers fails.
    """
    try:
        with torch.device("meta"):
            state = genome.build(options.vocab, options.context, options.depth).state_dict()
        size = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
        report("parameters", sum(tensor.numel() for tensor in state.values()))
    except Exception:  # noqa: BLE001 - the genome's
        return
    report("mib", 4 * size / MIB)  # weights, gradients, two moments
    if size > options.most_bytes:
        sys.exit(f"its weights take {size} bytes, and {options.most_bytes} can be left at most")
    if 2 * size > options.memory_mib * MIB:  # a copy is made of them to be left
        sys.exit(
            f"its weights take {size // MIB} MiB, twice at the end, and a trial holds "
            f"{options.memory_mib} MiB"
        )


def attempt(
    genome: ModuleType, options: argparse.Namespace, clock: PreflightClock, depth: int, context: int
) -> None:
    """Train and ask a model of this depth and context. Raises what the genome does."""
    random.seed(options.seed)
    np.random.seed(options.seed % 2**32)  # genomes may use the old interface
    torch.manual_seed(options.seed)
    tokens = np.memmap(options.tokens, dtype="<u2", mode="r")[:TOKENS]
    trial = PreflightTrial(
        tokens, options.vocab, context, depth, options.seed, "cpu", clock.start_budget()
    )
    trained = genome.train(trial)
    plain = getattr(trained, "_orig_mod", trained)
    model = genome.build(options.vocab, context, depth)
    model.load_state_dict(
        {name: value.detach().cpu() for name, value in plain.state_dict().items()}
    )
    ask(model.eval(), torch.from_numpy(tokens[: 2 * context].astype(np.int64)), options.vocab)


@torch.inference_mode()
def ask(model: torch.nn.Module, tokens: torch.Tensor, vocab: int) -> None:
    """Raise ValueError unless `model` answers two rows, and the first half of one alone alike."""
    rows = tokens.view(2, -1)
    half = rows.shape[1] // 2
    whole, part = model(rows), model(rows[:1, :half])
    for logits, asked in ((whole, rows), (part, rows[:1, :half])):
        if tuple(logits.shape) != (*asked.shape, vocab):
            raise ValueError(f"forward returned {tuple(logits.shape)}, not {(*asked.shape, vocab)}")
    whole, part = (logits.double().log_softmax(-1)[:1, :half] for logits in (whole, part))
    if not whole.isfinite().all():
        raise ValueError("forward returned numbers that are not finite after a few steps")
    if (whole - part).abs().max() > MAX_CHANGE_NATS:
        raise ValueError("a forecast changes with later tokens or with other rows")


def report(name: str, number: float) -> None:
    """Say a number to the harness."""
    print(f"claim preflight_{name} {number}", flush=True)  # noqa: T201


def exit_now() -> None:
    """End well, at once: taking torch down by the book costs 0.1 s."""
    sys.stdout.flush()
    os._exit(0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--entry", type=Path, required=True)
    parser.add_argument("--tokens", type=Path, required=True)
    for name in ("vocab", "context", "depth", "seed", "memory-mib", "most-bytes"):
        parser.add_argument(f"--{name}", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
