"""Experts that choose their tokens over the whole row: being chosen depends on later tokens.

Often an honest mistake.
"""

from __future__ import annotations

import torch
from torch import nn
from training import WIDTH, Net, fitter

REASON = "audited forecasts change"


class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.router = nn.Linear(WIDTH, 4)
        self.experts = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x):
        weight = self.router(x).softmax(-1)
        out = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            least = weight[..., number].topk(x.size(1) // 4, 1).values[:, -1:]
            chosen = weight[..., number] * (weight[..., number] >= least)
            out = out + expert(x) * chosen[..., None]
        return out


class Model(Net):
    mixer = Experts


build = Model
train = fitter(Model)
