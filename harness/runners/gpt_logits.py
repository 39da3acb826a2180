"""Runner of the gpt task: answers rows of tokens with rows of logits, and nothing else.

Runs inside a sandbox that holds the genome's source and its frozen weights: no text, and no disk to
write to. The trusted side (harness/tasks/gpt/logits.py) asks, one batch at a time:

    we send     a byte after each step of the start-up: started, imported, built, loaded
    it sends    5 bytes: the length of the rows, which are in the memory after the space for the
                answer, and whether they are followed by one position a row to answer alone
    we send     a byte when the answers, float32[rows, length, vocab] or float32[rows, vocab], are
                in the memory
    it sends    the end of the stream

An exception ends this process; the trusted side knows from the bytes how far it came.
"""

from __future__ import annotations

import argparse
import mmap
import os
import struct
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file


def main() -> None:
    """Load the model, then answer questions until the stream ends."""
    options = _options()
    model = load_model(options)
    memory = mmap.mmap(options.memory, 0)
    while request := os.read(options.channel, 5):
        answer(model, memory, options, *struct.unpack("<i?", request))
        report_step(options.channel)
    os._exit(0)  # an orderly exit of torch takes 0.1 s


def load_model(options: argparse.Namespace) -> torch.nn.Module:
    """Return the genome's model with its weights; report each step."""
    if options.device == "cuda" and options.share < 1:
        from guest.gpu_share import cap_gpu_memory  # type: ignore[import-not-found]  # noqa: PLC0415

        cap_gpu_memory(options.share)
    torch.compile = uncompiled  # type: ignore[assignment]  # there is no compiler here
    wake(options.device)
    report_step(options.channel)  # failures after this are the genome's
    sys.path.insert(0, str(options.entry.parent))
    genome = import_module(options.entry.stem)
    report_step(options.channel)
    torch.manual_seed(0)
    model: torch.nn.Module = genome.build(options.vocab, options.context, options.depth)
    report_step(options.channel)
    load_weights(model, load_file(options.weights))
    model = model.to(options.device).eval()
    report_step(options.channel)
    return model


def wake(device: str) -> None:
    """Let a GPU's libraries start, which takes seconds of CPU time that are not the genome's."""
    if device == "cuda":
        one = torch.ones(16, 16, device=device)
        (one @ one).sum().item()


def uncompiled(model: object = None, **_: object) -> object:
    """Return what `torch.compile` is given, as a decorator too."""
    return model if model is not None else uncompiled


def load_weights(model: torch.nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Copy the weights into the model's tensors of the same names.

    Not by the model's own `load_state_dict`, which is the candidate's. Raises ValueError where
    names or shapes differ.
    """
    places = torch.nn.Module.state_dict(model)
    if places.keys() != weights.keys():
        differing = ", ".join(sorted(places.keys() ^ weights.keys())[:3])
        raise ValueError(f"build() and the weights differ in {differing}")
    for name, place in places.items():
        if place.shape != weights[name].shape:
            raise ValueError(f"build() and the weights differ in the shape of {name}")
        place.copy_(weights[name])


def answer(
    model: torch.nn.Module,
    memory: mmap.mmap,
    options: argparse.Namespace,
    length: int,
    alone: bool,
) -> None:
    """Read rows of tokens from `memory` and write their logits there.

    With `alone`, only those of one position a row.
    """
    rows, vocab = options.rows, options.vocab
    offset = 4 * rows * options.context * vocab
    question = np.frombuffer(memory, np.int32, rows * (length + alone), offset).astype(np.int64)
    tokens = torch.from_numpy(question[: rows * length]).view(rows, length).to(options.device)
    with torch.inference_mode():
        logits = model(tokens)
        if tuple(logits.shape) != (rows, length, vocab):
            raise ValueError(f"forward returned {tuple(logits.shape)}, not {(rows, length, vocab)}")
        if alone:
            logits = logits[torch.arange(rows), torch.from_numpy(question[rows * length :])]
    target = np.frombuffer(memory, np.float32, logits.numel()).reshape(logits.shape)
    torch.from_numpy(target).copy_(logits)


def report_step(channel: int) -> None:
    """Tell the trusted side that another step is done."""
    os.write(channel, b".")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--entry", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--share", type=float, required=True)
    for name in ("vocab", "context", "depth", "rows", "channel", "memory"):
        parser.add_argument(f"--{name}", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
