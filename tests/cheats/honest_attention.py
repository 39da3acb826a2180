"""Causal attention of two heads."""

from __future__ import annotations

from torch import nn
from torch.nn import functional
from training import WIDTH, Net, fitter


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, x):
        heads = self.qkv(x).view(*x.shape[:2], 3, 2, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*heads, is_causal=True)
        return mixed.transpose(1, 2).flatten(2)


class Model(Net):
    mixer = Attention


build = Model
train = fitter(Model)
