"""The mutator's constants, and what is expected of a site before it is tried."""

from __future__ import annotations

from dataclasses import dataclass

from swarm.agents.mutator.model import Belief
from swarm.agents.mutator.sites import Site, words


@dataclass(frozen=True, slots=True)
class Tuning:
    """How the mutator searches. All gains are in units of the spread between seeds."""

    margin: float = 0.0
    greed: float = 4.0
    misfit: float = 0.3
    drift: float = 0.3
    reach: float = 1.0
    dead: float = 0.25
    option: tuple[float, float] = (-0.5, 1.5)
    inner: float = 0.2
    named: float = 0.4
    crush: float = 0.5
    joint: int = 3
    joint_from: float = 0.3
    shrink: float = 0.7


STRONG = {
    "batch", "cooldown", "depth", "epochs", "iterations", "iters", "layers", "learning", "lr",
    "momentum", "rate", "restarts", "sequences", "starts", "steps", "temperature", "warmdown",
    "width",
}  # fmt: skip
WEAK = {
    "beta",
    "beta1",
    "beta2",
    "betas",
    "eps",
    "epsilon",
    "every",
    "interval",
    "tol",
    "tolerance",
}


def belief(site: Site, tuning: Tuning) -> Belief:
    """Return what is believed of a number before it is tried."""
    spoken = set(words(site.name))
    weight = {"knob": 1.0, "named": tuning.named, "inner": tuning.inner}[site.rank]
    if spoken & STRONG:
        return Belief(tuning.reach, weight * 1.5, tuning.dead / 2)
    if spoken & WEAK:
        return Belief(tuning.reach, weight * 0.5, (1 + tuning.dead) / 2)
    return Belief(tuning.reach, weight, tuning.dead)
