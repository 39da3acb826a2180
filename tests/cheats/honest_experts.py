"""A mixture of four experts; each token chooses two for itself."""

from __future__ import annotations

import torch
from torch import nn
from training import WIDTH, Net, fitter


class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.router = nn.Linear(WIDTH, 4)
        self.experts = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x):
        tokens = x.flatten(0, 1)
        weight, choice = self.router(tokens).softmax(-1).topk(2)
        out = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            token, rank = (choice == number).nonzero(as_tuple=True)
            out = out.index_add(0, token, expert(tokens[token]) * weight[token, rank, None])
        return out.view(x.shape)


class Model(Net):
    mixer = Experts


build = Model
train = fitter(Model)
