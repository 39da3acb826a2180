"""A gated recurrent layer."""

from __future__ import annotations

from torch import nn
from training import WIDTH, Net, fitter


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.GRU(WIDTH, WIDTH, batch_first=True)

    def forward(self, x):
        return self.layer(x)[0]


class Model(Net):
    mixer = Recurrent


build = Model
train = fitter(Model)
