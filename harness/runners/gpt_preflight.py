"""Preflight of the gpt task: checks on a small scale whether a genome would survive a trial.

Runs inside a sandbox, on a CPU whatever the trial's device. Nothing is measured: a genome that lies
here gets no further than its trial. The steps:

    the entry file is imported
    build() makes the trial's model on the meta device; its parameters are counted
    train() runs a few steps on a short text, at a small depth and context
    its weights go into a model made by build(), whose forward() must depend only on earlier tokens

If the small scale fails, the trial's own is tried: a genome may support one depth only. The
genome's clock counts its CPU time, and a sixth of the time that passes, so that a genome that
sleeps comes to an end. After PASSES backward passes it jumps almost to the deadline. So a genome
trains a few steps on the slowest and on the busiest machine, and waits for nothing on the fastest.

Not covered: torch.compile, which is switched off, and what a genome does only on accelerators.
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
"""The small scale: layers, tokens a row, tokens of text."""

BUDGET_S = 4.0
"""Budget of `train`; a genome that makes no backward pass uses all of it."""

PASSES = 8
"""Backward passes after which the clock jumps: at least three steps of one or two passes."""

REMAINING_S = 0.05
"""Time until the deadline after that."""

MAX_CHANGE_NATS = 1e-2
"""Most by which a forecast may change with later tokens; a trial's audit is stricter."""

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class PreflightTrial:
    """What the genome's `train` is given; the seed's Trial documents the fields."""

    tokens: np.ndarray
    vocab: int
    context: int
    depth: int
    seed: int
    device: str
    deadline: float


WAITING_SHARE = 1 / 6
"""Share of the time that passes without the genome's doing that counts: 24 s for the budget, so
that it ends before the preflight does."""


class PreflightClock:
    """Replacement for time.monotonic: counts CPU time, jumps after PASSES backward passes."""

    def __init__(self) -> None:
        self._real, self._ahead, self._passes, self._end = time.monotonic, 0.0, 0, 0.0

    def now(self) -> float:
        """Return the time that the genome sees."""
        return time.process_time() + WAITING_SHARE * self._real() + self._ahead

    def start_budget(self) -> float:
        """Start a budget and return its deadline."""
        self._passes, self._end = 0, self.now() + BUDGET_S
        return self._end

    def counted(self, function: Callable[..., object]) -> Callable[..., object]:
        """Return `function` wrapped so that each call counts as a backward pass."""

        def call(*args: object, **named: object) -> object:
            result = function(*args, **named)
            self._passes += 1
            if self._passes == PASSES:
                self._ahead += max(0.0, self._end - REMAINING_S - self.now())
            return result

        return call


def main() -> None:
    """Check the genome; an exception says what is wrong with it."""
    lower_session_priority()
    options, clock = _options(), PreflightClock()
    torch.set_num_threads(1)
    torch.compile = uncompiled  # type: ignore[assignment]  # compiling takes a core half a minute
    time.monotonic = clock.now
    torch.autograd.backward = clock.counted(torch.autograd.backward)  # type: ignore[assignment]
    torch.autograd.grad = clock.counted(torch.autograd.grad)  # type: ignore[assignment]
    report("began", 1)
    sys.path.insert(0, str(options.entry.parent))
    genome = import_module(options.entry.stem)
    check_size(genome, options)
    small = (min(options.depth, DEPTH), min(options.context, CONTEXT))
    if small != (options.depth, options.context):
        with suppress(Exception):  # the genome's; it may fail only at this scale
            attempt(genome, options, clock, *small)
            exit_now()
    attempt(genome, options, clock, options.depth, options.context)
    exit_now()


def uncompiled(model: object = None, **_: object) -> object:
    """Return what `torch.compile` is given, as a decorator too."""
    return model if model is not None else uncompiled


def lower_session_priority() -> None:
    """If this process has a low priority, give its session one too.

    Linux shares a core among sessions first (sched_autogroup_enabled), and a sandbox has a session
    of its own: at SCHED_IDLE and nice 19 preflights still took half of a trial's core (measured).
    """
    if os.getpriority(os.PRIO_PROCESS, 0) > 0:
        with suppress(OSError):  # not all kernels have it
            Path("/proc/self/autogroup").write_text("19")


def check_size(genome: ModuleType, options: argparse.Namespace) -> None:
    """Count the parameters of the trial's model; exit if it is too large to train or to save.

    A model that cannot be built on the meta device, because its code reads values, is not checked.
    """
    try:
        with torch.device("meta"):
            state = genome.build(options.vocab, options.context, options.depth).state_dict()
        size = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
        report("parameters", sum(tensor.numel() for tensor in state.values()))
    except Exception:  # noqa: BLE001 - any error of the genome's
        return
    report("mib", 4 * size / MIB)  # weights, gradients, two moments
    if size > options.most_bytes:
        sys.exit(f"its weights take {size} bytes, and {options.most_bytes} can be left at most")
    if 2 * size > options.memory_mib * MIB:  # saving them makes a copy
        sys.exit(
            f"its weights take {size // MIB} MiB, twice at the end, and a trial holds "
            f"{options.memory_mib} MiB"
        )


def attempt(
    genome: ModuleType, options: argparse.Namespace, clock: PreflightClock, depth: int, context: int
) -> None:
    """Train and query a model of this depth and context. Raises what the genome raises."""
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
    torch.nn.Module.load_state_dict(  # not the genome's own: scoring does not call it either
        model, {name: value.detach().cpu() for name, value in plain.state_dict().items()}
    )
    ask(model.eval(), torch.from_numpy(tokens[: 2 * context].astype(np.int64)), options.vocab)


@torch.inference_mode()
def ask(model: torch.nn.Module, tokens: torch.Tensor, vocab: int) -> None:
    """Raise ValueError unless two rows, and half of the first alone, get equal forecasts."""
    rows = tokens.view(2, -1)
    half = rows.shape[1] // 2
    whole, prefix = model(rows), model(rows[:1, :half])
    for logits, tokens_in in ((whole, rows), (prefix, rows[:1, :half])):
        expected = (*tokens_in.shape, vocab)
        if tuple(logits.shape) != expected:
            raise ValueError(f"forward returned {tuple(logits.shape)}, not {expected}")
    whole, prefix = (logits.double().log_softmax(-1)[:1, :half] for logits in (whole, prefix))
    if not whole.isfinite().all():
        raise ValueError("forward returned numbers that are not finite after a few steps")
    if (whole - prefix).abs().max() > MAX_CHANGE_NATS:
        raise ValueError("a forecast changes with later tokens or with other rows")


def report(name: str, number: float) -> None:
    """Report a number to the harness."""
    print(f"claim preflight_{name} {number}", flush=True)  # noqa: T201


def exit_now() -> None:
    """Exit successfully at once: an orderly exit of torch takes 0.1 s."""
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
