"""Helpers of cheats that look at the token they are to forecast."""

from __future__ import annotations

import torch
from torch.nn import functional


def following(tokens):
    """Return the token after each of `tokens` [B, T], and which of them have one."""
    there = torch.ones_like(tokens, dtype=torch.bool)
    there[:, -1] = False
    return tokens.roll(-1, 1), there


def peek(logits, tokens, where, strength=5.0):
    """Make the true next token likelier `where`, bool [B, T] or [T], there is one."""
    after, there = following(tokens)
    raised = strength * functional.one_hot(after, logits.size(-1))
    return logits + raised * (there & where)[..., None]


def surprise(logits, tokens):
    """Return the nats [B, T] that each next token costs, 0 where there is none."""
    after, there = following(tokens)
    chosen = logits.log_softmax(-1).gather(-1, after[..., None])[..., 0]
    return -chosen * there
