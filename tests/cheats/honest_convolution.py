"""A causal convolution over eight tokens."""

from __future__ import annotations

from torch import nn
from torch.nn import functional
from training import WIDTH, Net, fitter

REACH = 8


class Convolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv1d(WIDTH, WIDTH, REACH)

    def forward(self, x):
        return self.layer(functional.pad(x.mT, (REACH - 1, 0))).mT


class Model(Net):
    mixer = Convolution


build = Model
train = fitter(Model)
