"""Runner of the gpt task: trains the genome and saves the weights that it returns.

Runs inside a sandbox, where everything after the genome's import is hostile. All that the harness
takes from here is /out; the rest is the training log.

Not covered: on a shared GPU the memory cap holds only for a genome that does not lift it, and for
each of its processes separately.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from guest.clock import Deadline  # type: ignore[import-not-found]  # inside a sandbox it is there
from safetensors.torch import save_file

NOT_KEPT = {"precompiled_headers", "locks"}
"""Folders of the cache that only its own process uses; headers are 150 MB."""

PASSES = 48
"""Backward passes after which everything is compiled: some steps, also of many parts each."""

REMAINING_S = 0.05
"""Time until the deadline after that."""


@dataclass(frozen=True, slots=True)
class TrainingTrial:
    """What the genome's `train` is given; the seed's Trial documents the fields."""

    tokens: np.ndarray
    vocab: int
    context: int
    depth: int
    seed: int
    device: str
    deadline: float  # a Deadline: it moves later while others use the cores


def main() -> None:
    """Train within the budget and save the weights."""
    options = _options()
    cache = use_cache(options.compiled) if options.ahead or options.compiled else Path()
    if options.compiled or (options.device == "cuda" and not has_semaphores()):
        compile_alone()
    random.seed(options.seed)
    np.random.seed(options.seed % 2**32)  # for genomes that use numpy's global generator
    torch.manual_seed(options.seed)
    if options.device == "cuda" and options.share < 1:
        from guest.gpu_share import cap_gpu_memory  # type: ignore[import-not-found]  # noqa: PLC0415

        cap_gpu_memory(options.share)
    trial = TrainingTrial(
        tokens=np.memmap(options.tokens, dtype="<u2", mode="r"),
        vocab=options.vocab,
        context=options.context,
        depth=options.depth,
        seed=options.seed,
        device=options.device,
        deadline=stop_early(options.seconds) if options.ahead else Deadline(options.seconds),
    )
    replace_compile(options.device)
    sys.path.insert(0, str(options.entry.parent))  # the entry may import files beside it
    model = import_module(options.entry.stem).train(trial)
    if options.ahead:
        save_cache(cache, options.ahead)
        os._exit(0)
    late = time.monotonic() - trial.deadline
    if late > 0:
        print(f"train() returned {late:.2f} s after its deadline", flush=True)  # noqa: T201
    save(model, options.out)
    sys.stdout.flush()
    os._exit(0)  # an orderly exit of torch takes 0.1 s


def uncompiled(model: object = None, **_: object) -> object:
    """Return what `torch.compile` is given, as a decorator too."""
    return model if model is not None else uncompiled


def has_semaphores() -> bool:
    """Return whether processes can share a semaphore: Landlock sandboxes have no /dev/shm."""
    try:
        multiprocessing.Lock()
    except OSError:
        return False
    return True


def compile_alone() -> None:
    """Let torch's compiler start no processes.

    They need semaphores, and cost CPU time where what they would compile is there already.
    """
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    if config := sys.modules.get("torch._inductor.config"):
        setattr(config, "compile_threads", 1)  # noqa: B010 - a module that mypy does not know


def use_cache(archive: Path | None) -> Path:
    """Give torch's compiler and Triton a folder for their files, with those in `archive`."""
    cache = Path(tempfile.mkdtemp(prefix="compiled-"))
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache)
    os.environ["TRITON_CACHE_DIR"] = str(cache / "triton")  # by default some of it is in HOME
    if archive is not None:
        with tarfile.open(archive) as tar:
            tar.extractall(cache, filter="data")
    return cache


def stop_early(seconds: float) -> float:
    """Return a deadline that comes after `PASSES` backward passes: the clock jumps ahead then."""
    real, backward, deadline = time.monotonic, torch.autograd.backward, time.monotonic() + seconds
    passes = count(1)
    ahead = [0.0]

    def counted(*args: object, **named: object) -> object:
        result = backward(*args, **named)  # type: ignore[arg-type]
        if next(passes) == PASSES:
            ahead[0] = max(0.0, deadline - REMAINING_S - real())
        return result

    torch.autograd.backward = counted  # type: ignore[assignment]
    time.monotonic = lambda: real() + ahead[0]
    return deadline


def save_cache(cache: Path, archive: Path) -> None:
    """Write the compiler's files to `archive`, without what other sandboxes have no use for."""
    with tarfile.open(archive, "w") as tar:
        for path in sorted(cache.rglob("*")):
            if path.is_file() and not NOT_KEPT & {*path.parts}:
                tar.add(path, path.relative_to(cache))


def replace_compile(device: str) -> None:
    """Where torch.compile cannot work, let it do nothing or say what is missing.

    A sandbox without the system's files has no compiler by design. Elsewhere one line names what to
    install, instead of pages of a traceback.
    """
    if not Path("/usr").exists():
        torch.compile = uncompiled  # type: ignore[assignment]
        return
    from guest.toolchain import missing_toolchain  # type: ignore[import-not-found]  # noqa: PLC0415

    reason = missing_toolchain(device)
    if reason:
        torch.compile = partial(refuse, reason)


def refuse(reason: str, *_: object, **__: object) -> NoReturn:
    """End the program with `reason`."""
    sys.exit(reason)


def save(model: torch.nn.Module, file: Path) -> None:
    """Write the model's state dict, with the names that `build` gives, to `file`."""
    plain = getattr(model, "_orig_mod", model)  # what torch.compile wraps
    tensors = {name: value.detach().cpu() for name, value in plain.state_dict().items()}
    # cloned, because safetensors refuses tensors that share memory, as tied weights do
    save_file({name: t.contiguous().clone() for name, t in tensors.items()}, file)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--entry", type=Path, required=True)
    parser.add_argument("--tokens", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--ahead", type=Path, help="only compile, and write the compiler's cache")
    parser.add_argument("--compiled", type=Path, help="a cache of the compiler's to start with")
    parser.add_argument("--share", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    for name in ("vocab", "context", "depth", "seed"):
        parser.add_argument(f"--{name}", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
