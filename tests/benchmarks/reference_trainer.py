"""A trainer for `bench_trainer` to compare with: autoresearch's published design (March 2026).

Written from the design, not the code, for the `gpt` task's interface and a CPU: heads of 128,
value embeddings with gates in every other block, residual and embedding scales, windows of half the
context in three of four blocks, Muon by polar express with momentum that rises over 300 steps,
variances of neurons evened out, cautious decay, AdamW at a rate for each kind of parameter, rates
that fall over the second half. 8 rows a step.
"""

from __future__ import annotations

import time

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

ROWS = 8
HEAD, GATE, PATTERN = 128, 32, "SSSL"
MATRIX, EMBEDDING, HEAD_RATE, SCALAR = 0.04, 0.6, 0.004, 0.5
DECAY, BETAS = 0.2, (0.8, 0.95)
POLAR = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)


def norm(x):
    """Scale the last dimension to a root mean square of one."""
    return F.rms_norm(x, (x.size(-1),))


class Block(nn.Module):
    def __init__(self, width, heads, window, valued):
        super().__init__()
        self.heads, self.window = heads, window
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        self.gate = nn.Linear(GATE, heads, bias=False) if valued else None

    def forward(self, x, extra, cos, sin):
        n = norm(x)
        split = (*x.shape[:2], self.heads, -1)
        q, k, v = (m(n).view(split) for m in (self.q, self.k, self.v))
        if self.gate is not None:
            v = v + 2 * torch.sigmoid(self.gate(n[..., :GATE]))[..., None] * extra.view(split)
        q, k = (norm(turn(each, cos, sin)).transpose(1, 2) for each in (q, k))
        at = torch.arange(x.size(1))
        back = at[:, None] - at
        mask = None if self.window >= x.size(1) else (back >= 0) & (back <= self.window)
        y = F.scaled_dot_product_attention(q, k, v.transpose(1, 2), mask, is_causal=mask is None)
        x = x + self.o(y.transpose(1, 2).reshape(x.shape))
        return x + self.down(F.relu(self.up(norm(x))).square())


def turn(x, cos, sin):
    """Rotate pairs of channels by their position's angle."""
    a, b = x.chunk(2, -1)
    cos, sin = cos[: x.size(1), None], sin[: x.size(1), None]
    return torch.cat((a * cos + b * sin, b * cos - a * sin), -1)


class Model(nn.Module):
    def __init__(self, vocab, context, depth):
        super().__init__()
        self.width = width = -(-64 * depth // HEAD) * HEAD
        windows = [context // (2 if PATTERN[i % 4] == "S" else 1) for i in range(depth)]
        windows[-1] = context
        valued = [i % 2 == (depth - 1) % 2 for i in range(depth)]
        self.embedding = nn.Embedding(vocab, width)
        self.values = nn.ModuleDict(
            {str(i): nn.Embedding(vocab, width) for i in range(depth) if valued[i]}
        )
        self.blocks = nn.ModuleList(
            Block(width, width // HEAD, windows[i], valued[i]) for i in range(depth)
        )
        self.head = nn.Linear(width, vocab, bias=False)
        self.residual = nn.Parameter(torch.ones(depth))
        self.skip = nn.Parameter(torch.full((depth,), 0.1))
        speed = 10000.0 ** -(torch.arange(0, HEAD, 2) / HEAD)
        angle = torch.outer(torch.arange(context), speed)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)
        self.initialise((3 / width) ** 0.5)

    @torch.no_grad()
    def initialise(self, bound):
        for name, matrix in self.blocks.named_parameters():
            zero = name.split(".")[1] in ("o", "down", "gate")
            nn.init.zeros_(matrix) if zero else nn.init.uniform_(matrix, -bound, bound)
        for table in self.values.values():
            nn.init.uniform_(table.weight, -bound, bound)
        nn.init.normal_(self.embedding.weight)
        nn.init.normal_(self.head.weight, std=0.001)

    def forward(self, tokens):
        x = first = norm(self.embedding(tokens))
        for i, block in enumerate(self.blocks):
            extra = self.values[str(i)](tokens) if str(i) in self.values else None
            x = block(self.residual[i] * x + self.skip[i] * first, extra, self.cos, self.sin)
        return 15 * torch.tanh(self.head(norm(x)).float() / 15)


build = Model


class Optimizer:
    def __init__(self, model):
        scale = (model.width / 768) ** -0.5
        tables = [model.embedding.weight, *(t.weight for t in model.values.values())]
        rates = [(table, EMBEDDING * scale, BETAS) for table in tables]
        rates += [(model.head.weight, HEAD_RATE * scale, BETAS)]
        rates += [(model.residual, SCALAR / 100, BETAS), (model.skip, SCALAR, (0.96, 0.95))]
        self.adam = [
            (*each, torch.zeros_like(each[0]), torch.zeros_like(each[0])) for each in rates
        ]
        matrices = list(model.blocks.parameters())
        groups = [[m for m in matrices if m.shape == s] for s in {m.shape for m in matrices}]
        self.muon = []
        for group in groups:
            momentum = torch.zeros(len(group), *group[0].shape)
            along = -1 if momentum.size(-2) >= momentum.size(-1) else -2
            self.muon.append((group, momentum, momentum.mean(along, keepdim=True), along))
        self.count = 0

    @torch.no_grad()
    def step(self, scale, progress):
        self.count += 1
        for parameter, rate, betas, mean, square in self.adam:
            mean.lerp_(parameter.grad, 1 - betas[0])
            square.lerp_(parameter.grad.square(), 1 - betas[1])
            unbiased = (square / (1 - betas[1] ** self.count)).sqrt_().add_(1e-10)
            step = rate * scale / (1 - betas[0] ** self.count)
            parameter.addcdiv_(mean, unbiased, value=-step)
        rise = min(self.count / 300, 1)
        beta, decay = 0.85 * (1 - rise) + 0.95 * rise, DECAY * (1 - progress)
        for group, momentum, variance, along in self.muon:
            gradient = torch.stack([m.grad for m in group])
            momentum.lerp_(gradient, 1 - beta)
            update = even(polar(gradient.lerp_(momentum, beta)), variance, along)
            rows, columns = group[0].shape
            rate = MATRIX * scale * max(1, rows / columns) ** 0.5
            for matrix, change in zip(group, update, strict=True):
                kept = (change * matrix >= 0) * matrix
                matrix.sub_(change + decay * kept, alpha=rate)


def polar(x):
    """Bring the singular values of a batch of matrices near one."""
    x = x / (x.norm(dim=(-2, -1), keepdim=True) * 1.02 + 1e-6)
    tall = x.size(-2) > x.size(-1)
    for a, b, c in POLAR:
        gram = x.mT @ x if tall else x @ x.mT
        poly = b * gram + c * (gram @ gram)
        x = a * x + (x @ poly if tall else poly @ x)
    return x


def even(update, variance, along):
    """Even out the sizes of the neurons' updates over time; the whole keeps its size."""
    mean = update.square().mean(along, keepdim=True)
    variance.lerp_(mean, 0.05)
    scale = variance.clamp_min(1e-10).rsqrt()
    before, after = mean.sum((-2, -1), True), (mean * scale.square()).sum((-2, -1), True)
    return update * scale * (before / after.clamp_min(1e-20)).sqrt()


def train(trial):
    """Return a model trained until `trial.deadline`."""
    start = last = time.monotonic()
    budget, longest, done = trial.deadline - start, 0.0, 0
    random, text = np.random.default_rng(trial.seed), trial.tokens
    model = build(trial.vocab, trial.context, trial.depth)
    optimizer = Optimizer(model)
    while last + 1.3 * longest < trial.deadline:
        starts = random.integers(len(text) - trial.context, size=ROWS)
        rows = np.stack([text[s : s + trial.context + 1] for s in starts]).astype(np.int64)
        tokens = torch.from_numpy(rows)
        logits = model(tokens[:, :-1])
        F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
        progress = min(1.0, (time.monotonic() - start) / budget)
        optimizer.step(min(1.0, 2 * (1 - progress)), progress)
        model.zero_grad()
        done += 1
        now = time.monotonic()
        last, longest = now, max(now - last, 0.95 * longest)
    print(f"claim steps {done}\nclaim tokens {done * (tokens.numel() - len(tokens))}")
    return model
