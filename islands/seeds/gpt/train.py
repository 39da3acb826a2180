"""A small GPT and the loop that trains it: generation zero of the `gpt` task.

The harness runs this file in a sandbox and calls two functions; everything else may change.

`build(vocab, context, depth)` returns a torch.nn.Module. Its forward takes int64 tokens [B, T],
T <= context, and returns logits [B, T, vocab]: position t forecasts token t + 1 from tokens 0..t
of its own row and from nothing else. The harness builds it again in a fresh process, loads the
weights and computes bits per byte (`val_bpb`, lower is better) of text that this file never sees,
in eval mode, without autocast, in batches of its own choosing. If an answer changes with later
tokens or with neighbouring rows, the trial is invalid.

`train(trial)` returns such a module, trained, no later than `trial.deadline`. Its state dict must
fit what `build` returns. Printed text is the training log; a line `claim NAME VALUE` in it is kept
as a claim.

Each knob is on a line of its own with a comment between, so that two changes merge; "gains" is what
it gained when it was added, in bits per byte (one seed, depth 2, 20 s on a core: within 0.03).
`depth` is the one dial of scale: width, heads, batch and learning rates follow from it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's usual name
from torch import Tensor, nn

# Shape: width of the model per unit of depth.
WIDTH_PER_DEPTH = 64
# Approximate width of one attention head; the number of heads is whole.
HEAD_WIDTH = 64
# Hidden width of the feed-forward layer as a multiple of the model's.
MLP_RATIO = 4.0
# Non-linearity of the feed-forward layer.
ACTIVATION = "relu2"  # one of: relu2, gelu, silu
# Normalise queries and keys.
QK_NORM = True
# Longest rotary wavelength, in tokens per radian.
ROTARY_BASE = 10000.0
# Logits are squeezed smoothly into -SOFTCAP..SOFTCAP.
SOFTCAP = 15.0
# Add the embedding of the token before, each channel at a learned scale; gains 0.033.
TOKEN_BEFORE = True
# Rows, per token of the vocabulary, in the table of embeddings of pairs of tokens; gains 0.046.
PAIRS = 4
# Add the embedding to the input of every block, at a learned scale.
EMBEDDING_SKIP = True
# Blocks that add an embedding of the token to the values; gains 0.15.
VALUE_EMBEDDING = "alternate"  # one of: none, alternate, all
# Channels that decide how much of it each head takes.
GATE_WIDTH = 32
# Batch: sequences per step and unit of depth, on a CPU (accelerators take more, see Device).
SEQUENCES_PER_DEPTH = 4.0
# Learning rate of the matrices (Muon).
MATRIX_LR = 0.04
# Learning rate of the embeddings (AdamW, at width 768).
EMBEDDING_LR = 0.6
# Learning rate of the embeddings of pairs (AdamW, at width 768).
PAIR_LR = 0.3
# Learning rate of the output head (AdamW, at width 768).
HEAD_LR = 0.004
# Learning rate of the scalars (AdamW).
SCALAR_LR = 0.5
# Fraction of the time in which the rates rise.
WARMUP = 0.0
# Fraction of the time, at the end, in which they fall.
WARMDOWN = 0.5
# Final rates, as a fraction of their peak.
FINAL_LR = 0.0
# Shape of the fall.
SCHEDULE = "linear"  # one of: linear, cosine, sqrt
# Muon's momentum.
MOMENTUM = 0.95
# Muon's momentum in the first step.
FIRST_MOMENTUM = 0.85
# Steps in which it rises to the final one.
MOMENTUM_STEPS = 300
# Newton-Schulz iterations that make an update orthogonal.
ORTHOGONAL_STEPS = 5
# Decay of the matrices, relative to their learning rate.
DECAY = 0.2
# Decay of all other parameters, relative to their learning rate.
ADAMW_DECAY = 0.01
# AdamW's decay of the mean gradient.
BETA1 = 0.8
# AdamW's decay of the mean squared gradient.
BETA2 = 0.95
# End of the knobs.

# Factors of the first Newton-Schulz iterations; the last are used again (Amsel et al. 2025).
POLAR_EXPRESS = (
    (8.1566, -22.4833, 15.8788),
    (4.0429, -2.8089, 0.5000),
    (3.8917, -2.7725, 0.5061),
    (3.2858, -2.3681, 0.4645),
    (2.3465, -1.7098, 0.4232),
)


class Trial(Protocol):
    """What the harness gives to `train`; frozen."""

    tokens: np.ndarray  # uint16 [N], memory-mapped: the training text
    vocab: int
    context: int
    depth: int
    seed: int  # torch, numpy and random are seeded with it already
    device: str  # "cpu", "cuda" or "mps"
    deadline: float  # of time.monotonic(), saving left out; later while others have the cores


class Device(NamedTuple):
    """Settings for a kind of device."""

    sequences: float  # per step, as a multiple of SEQUENCES_PER_DEPTH
    tokens: int  # in memory at once, with their logits; a larger batch is summed in parts
    compile: float  # compile if more seconds are left than this
    lag: int  # parts of a batch that it may still be computing when the next is prepared


DEVICES = {
    "cpu": Device(1, 2**10, compile=math.inf, lag=0),
    "mps": Device(2, 2**14, compile=math.inf, lag=1),
    "cuda": Device(8, 2**16, compile=20.0, lag=1),
}


def norm(x: Tensor) -> Tensor:
    """Scale the last dimension to a root mean square of one."""
    return F.rms_norm(x, (x.size(-1),))


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Rotate pairs of channels of x [B, T, heads, width] by the cosines and sines in `turn`."""
    left, right = x.chunk(2, dim=-1)
    cos, sin = turn.to(x.dtype)
    return torch.cat((left * cos + right * sin, right * cos - left * sin), dim=-1)


class Attention(nn.Module):
    """Causal self-attention with rotary positions (Su et al. 2021)."""

    def __init__(self, width: int, heads: int, gated: bool) -> None:
        super().__init__()
        self.heads = heads
        self.gate = nn.Linear(min(GATE_WIDTH, width), heads, bias=False) if gated else None
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, turn: Tensor, extra: Tensor | None) -> Tensor:
        """Mix x [B, T, width] along T; `extra`, if given, is added to the values by the gate."""
        split = (*x.shape[:2], self.heads, -1)
        q, k = rotate(self.query(x).view(split), turn), rotate(self.key(x).view(split), turn)
        v = self.value(x).view(split)
        if QK_NORM:
            q, k = norm(q).to(v.dtype), norm(k).to(v.dtype)
        if self.gate is not None and extra is not None:
            opening = 2 * torch.sigmoid(self.gate(x[..., : self.gate.in_features]))
            v = v + (opening[..., None] * extra.view(split)).to(v.dtype)
        q, k, v = (heads.transpose(1, 2) for heads in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(x.shape))
        return out


class Block(nn.Module):
    """Attention and two matrices, each reading the normalised stream and adding to it."""

    def __init__(self, width: int, heads: int, gated: bool) -> None:
        super().__init__()
        hidden = max(1, round(width * MLP_RATIO))
        self.attention = Attention(width, heads, gated)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor, turn: Tensor, extra: Tensor | None) -> Tensor:
        """Refine the stream x [B, T, width]."""
        x = x + self.attention(norm(x), turn, extra)
        h = self.up(norm(x))
        h = F.relu(h).square() if ACTIVATION == "relu2" else getattr(F, ACTIVATION)(h)
        out: Tensor = x + self.down(h)
        return out


class GPT(nn.Module):
    """Tokens [B, T] in, logits [B, T, vocab] out."""

    def __init__(self, vocab: int, context: int, depth: int) -> None:
        super().__init__()
        heads = max(1, round(WIDTH_PER_DEPTH * depth / HEAD_WIDTH))
        head_width = max(2, 2 * round(WIDTH_PER_DEPTH * depth / heads / 2))  # rotary needs pairs
        self.width = heads * head_width
        speed = ROTARY_BASE ** -(torch.arange(0, head_width, 2) / head_width)
        angle = torch.outer(torch.arange(context), speed)[:, None, :]
        self.register_buffer("turn", torch.stack((angle.cos(), angle.sin())), persistent=False)
        self.turn: Tensor
        self.embedding = nn.Embedding(vocab, self.width)
        self.before = nn.Parameter(torch.zeros(self.width)) if TOKEN_BEFORE else None
        self.pairs = nn.Embedding(PAIRS * vocab, self.width) if PAIRS else None
        every = {"none": 0, "alternate": 2, "all": 1}[VALUE_EMBEDDING]
        gated = range(depth - 1, -1, -every) if every else range(0)
        self.values = nn.ModuleDict({str(i): nn.Embedding(vocab, self.width) for i in gated})
        self.blocks = nn.ModuleList(Block(self.width, heads, i in gated) for i in range(depth))
        self.skips = nn.Parameter(torch.full((depth,), 0.1)) if EMBEDDING_SKIP else None
        self.head = nn.Linear(self.width, vocab, bias=False)
        self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """Start as the identity: matrices that write to the stream are zero, the head is small."""
        for name, matrix in self.blocks.named_parameters():
            silent = name.endswith(("out.weight", "down.weight", "gate.weight"))
            nn.init.normal_(matrix, std=0.0 if silent else matrix.size(1) ** -0.5)
        for table in self.values.parameters():
            nn.init.normal_(table, std=self.width**-0.5)
        nn.init.normal_(self.embedding.weight)
        nn.init.normal_(self.head.weight, std=0.001)
        if self.pairs is not None:
            nn.init.zeros_(self.pairs.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """Forecast the token after each of tokens [B, T]."""
        x = norm(self.embedding(tokens))
        if torch.is_autocast_enabled():
            x = x.bfloat16()  # half of the memory traffic between the matrices
        if self.before is not None:
            x = x + self.before.to(x.dtype) * F.pad(x[:, :-1], (0, 0, 1, 0))
        if self.pairs is not None:
            pair = tokens * 36313 ^ F.pad(tokens[:, :-1], (1, 0)) * 27191
            x = x + self.pairs(pair % self.pairs.num_embeddings).to(x.dtype)
        start, turn = x, self.turn[:, : x.size(1)]
        for i, block in enumerate(self.blocks):
            x = x if self.skips is None else x + self.skips[i].to(x.dtype) * start
            x = block(x, turn, self.values[str(i)](tokens) if str(i) in self.values else None)
        logits: Tensor = self.head(norm(x)).float()
        return SOFTCAP * torch.tanh(logits / SOFTCAP)


def build(vocab: int, context: int, depth: int) -> nn.Module:
    """Return the untrained model."""
    return GPT(vocab, context, depth)


def orthogonal(batch: Tensor) -> Tensor:
    """Bring the singular values of each matrix of batch [N, rows, columns] near one.

    Quintic Newton-Schulz iterations (Jordan et al. 2024), in bfloat16 on CUDA.
    """
    x = batch.bfloat16() if batch.is_cuda else batch
    tall = x.size(-2) > x.size(-1)
    x = x.mT if tall else x
    x = x / (1.02 * x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for i in range(ORTHOGONAL_STEPS):
        a, b, c = POLAR_EXPRESS[min(i, len(POLAR_EXPRESS) - 1)]
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(batch.dtype)


# Plain classes: torch.optim imports torch._dynamo, which may cost a second of a short budget.
class Muon:
    """Momentum with an orthogonalised update; matrices of one shape are updated together."""

    def __init__(self, matrices: list[nn.Parameter], rate: float) -> None:
        shapes = sorted({tuple(matrix.shape) for matrix in matrices})
        alike = [[m for m in matrices if tuple(m.shape) == shape] for shape in shapes]
        self.groups = [(group, torch.zeros_like(torch.stack([*group]))) for group in alike]
        self.rate, self.steps = rate, 0

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """Apply the gradients at `scale` times the learning rate."""
        rate, risen = self.rate * scale, min(1.0, self.steps / max(1, MOMENTUM_STEPS))
        self.steps += 1
        beta = FIRST_MOMENTUM + (MOMENTUM - FIRST_MOMENTUM) * risen
        for group, momentum in self.groups:
            gradient = torch.stack([matrix.grad for matrix in group if matrix.grad is not None])
            momentum.lerp_(gradient, 1 - beta)
            update = orthogonal(gradient.lerp(momentum, beta))  # Nesterov's
            rows, columns = group[0].shape
            size = max(1.0, rows / columns) ** 0.5
            for matrix, change in zip(group, update, strict=True):
                matrix.mul_(1 - rate * DECAY).sub_(change, alpha=rate * size)


class AdamW:
    """Adam with decoupled weight decay and a learning rate for each parameter."""

    def __init__(self, rates: list[tuple[Tensor, float]]) -> None:
        self.parameters = [(p, rate, torch.zeros_like(p), torch.zeros_like(p)) for p, rate in rates]
        self.steps = 0

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """Apply the gradients at `scale` times the learning rates."""
        self.steps += 1
        unbias = (1 - BETA2**self.steps) ** 0.5 / (1 - BETA1**self.steps)
        for parameter, peak, mean, square in self.parameters:
            gradient, rate = parameter.grad, peak * scale
            if gradient is None:
                continue
            mean.lerp_(gradient, 1 - BETA1)
            square.lerp_(gradient.square(), 1 - BETA2)
            parameter.mul_(1 - rate * ADAMW_DECAY)
            parameter.addcdiv_(mean, square.sqrt().add_(1e-10), value=-rate * unbias)


def optimizers(model: GPT) -> tuple[Muon, AdamW]:
    """Return Muon for the matrices of the blocks and AdamW for everything else."""
    scale = (model.width / 768) ** -0.5
    tables = [model.embedding.weight, *model.values.parameters()]
    rates: list[tuple[Tensor, float]] = [(table, EMBEDDING_LR * scale) for table in tables]
    rates += [(model.pairs.weight, PAIR_LR * scale)] if model.pairs is not None else []
    rates += [(model.head.weight, HEAD_LR * scale)]
    rates += [(scales, SCALAR_LR) for scales in (model.skips, model.before) if scales is not None]
    return Muon(list(model.blocks.parameters()), MATRIX_LR), AdamW(rates)


def schedule(progress: float) -> float:
    """Return the factor for the peak rates after this fraction of the time."""
    if progress < WARMUP:
        return progress / WARMUP
    left = min(1.0, (1 - progress) / max(WARMDOWN, 1e-9))
    cosine = 0.5 - 0.5 * math.cos(math.pi * left)
    fall = {"linear": left, "cosine": cosine, "sqrt": math.sqrt(left)}[SCHEDULE]
    return FINAL_LR + (1 - FINAL_LR) * fall


class Clock:
    """The remaining time, and whether another stretch of work fits into it."""

    def __init__(self, deadline: float, lag: int) -> None:
        self.deadline, self.lag, self.last = deadline, lag, time.monotonic()
        self.budget, self.stretch = max(deadline - self.last, 1e-9), 0.0
        # what others take of a core moves the deadline, and makes no stretch of work slower
        self.working = time.monotonic if lag else time.thread_time
        self.worked = self.working()

    def progress(self) -> float:
        """Return the fraction of the time that has passed, 0..1."""
        return min(1.0, max(0.0, 1.0 - (self.deadline - self.last) / self.budget))

    def look(self, weight: float = 1.0) -> bool:
        """Return whether as much work as since the last look fits into the time, with a margin.

        So must what the device still computes. Slow stretches are remembered for a while. `weight`
        is the ratio of the coming work to the past; 0 ignores the past.
        """
        self.last, worked = time.monotonic(), self.working()
        self.stretch = max((worked - self.worked) * weight, 0.95 * self.stretch)
        self.worked = worked
        return self.last + (1.5 + self.lag) * self.stretch < self.deadline


def batches(trial: Trial, rows: int) -> Iterator[Tensor]:
    """Yield windows [rows, context + 1] of the text in random order, epoch after epoch."""
    random = np.random.default_rng(trial.seed)
    on_cuda = trial.device == "cuda"
    starts: list[int] = []
    while True:
        if len(starts) < rows:
            phase = int(random.integers(trial.context))
            epoch = np.arange(phase, len(trial.tokens) - trial.context, trial.context)
            starts = [*starts, *random.permutation(epoch).tolist()]
        chosen, starts = starts[:rows], starts[rows:]
        windows = np.stack([trial.tokens[s : s + trial.context + 1] for s in chosen])
        batch = torch.from_numpy(windows.astype(np.int64))
        # pinned memory is copied while the device computes
        batch = batch.pin_memory() if on_cuda else batch
        yield batch.to(trial.device, non_blocking=on_cuda)


def loss_of(model: nn.Module, tokens: Tensor) -> Tensor:
    """Return the loss on windows [B, T + 1] in nats per token."""
    logits = model(tokens[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


def train(trial: Trial) -> nn.Module:
    """Return a model trained on `trial.tokens` until `trial.deadline`."""
    device, on_cuda = DEVICES[trial.device], trial.device == "cuda"
    clock = Clock(trial.deadline, device.lag)
    rows = max(1, round(SEQUENCES_PER_DEPTH * device.sequences * trial.depth))
    parts = math.ceil(rows / max(1, device.tokens // trial.context))
    stream = batches(trial, math.ceil(rows / parts))
    model = GPT(trial.vocab, trial.context, trial.depth).to(trial.device)
    compiled = clock.budget > device.compile
    loss_in = torch.compile(loss_of) if compiled else loss_of

    def gradient(tokens: Tensor) -> Tensor:
        """Add the gradient of one part of a batch; return its loss in nats per token."""
        with torch.autocast("cuda", torch.bfloat16) if on_cuda else nullcontext():
            loss = loss_in(model, tokens)
        (loss / parts).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    # One row and one step of zero size measure how long the first steps will take.
    loss = gradient(next(stream) if compiled else next(stream)[:1])
    smooth = loss.item()
    clock.look(weight=0 if compiled else rows / parts)
    for optimizer in optimizers(model):
        optimizer.step(0.0)
    model.zero_grad()
    both, done, tokens = optimizers(model), 0, next(stream)
    while clock.look():
        before, loss = loss, gradient(tokens)
        tokens = next(stream)
        # the loss before, since to wait for this one's would leave an accelerator idle
        smooth += 0.02 * (before.item() - smooth)
        done += 1
        if done % parts:
            continue
        if not clock.look():
            break
        for optimizer in both:
            optimizer.step(schedule(clock.progress()))
        model.zero_grad()
    print(f"claim steps {done // parts}\nclaim tokens {done * tokens[:, 1:].numel()}")  # noqa: T201
    print(f"claim loss {smooth:.4f}")  # noqa: T201 - the training log
    return model
