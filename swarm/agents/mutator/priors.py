"""The mutator's constants, and what is expected of a site before it is tried."""

from __future__ import annotations

import math
from dataclasses import dataclass

from swarm.agents.mutator.edit_sites import Site
from swarm.agents.mutator.identifiers import words
from swarm.agents.mutator.moves import MoveKind
from swarm.agents.mutator.surrogate import NumberPrior


@dataclass(frozen=True, slots=True)
class SearchParameters:
    """How the mutator searches. All gains are in units of the spread between seeds."""

    margin: float = 0.0
    greed: float = 4.0
    misfit: float = 0.3
    drift: float = 0.3
    reach: float = 0.7
    dead: float = 0.25
    option: tuple[float, float] = (-0.5, 3.0)
    inner: float = 0.2
    named: float = 0.4
    crush: float = 0.5
    joint: int = 3
    joint_from: float = 0.3
    shrink: float = 0.8
    elsewhere: float = 0.4
    stretch: float = 0.3


RUN_COUNTS: dict[MoveKind, tuple[float, float]] = {
    "number": (9.0, 1.0),
    "option": (9.0, 1.0),
    "cross": (19.0, 1.0),
    "term": (3.0, 2.0),
    "statement": (3.0, 2.0),
    "swap": (3.0, 2.0),
}
"""Moves of each kind that left a program that runs, and that broke it, counted in advance."""

STRUCTURAL_GAINS: dict[MoveKind, tuple[float, float]] = {
    "term": (-3.0, 2.0),
    "statement": (-3.0, 2.0),
    "swap": (-2.5, 2.0),
}
"""What a change of structure gains, mean and spread in units: mostly it loses."""

STRONG_WORDS = {
    "batch", "cooldown", "depth", "epochs", "iterations", "iters", "layers", "learning", "lr",
    "momentum", "rate", "restarts", "sequences", "starts", "steps", "temperature", "warmdown",
    "width",
}  # fmt: skip
WEAK_WORDS = {
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


def number_prior(site: Site, parameters: SearchParameters) -> NumberPrior:
    """Return what is believed of a number before it is tried."""
    spoken, weight = words(site.name), _weight(site, parameters)
    if spoken & STRONG_WORDS:
        return NumberPrior(parameters.reach, weight * 1.5, parameters.dead / 2)
    if spoken & WEAK_WORDS:
        return NumberPrior(parameters.reach, weight * 0.5, (1 + parameters.dead) / 2)
    return NumberPrior(parameters.reach, weight, parameters.dead)


def option_prior(site: Site, parameters: SearchParameters) -> tuple[float, float]:
    """Return what an option of `site` gains before it is tried: mean and spread in units."""
    (mean, spread), share = parameters.option, math.sqrt(_weight(site, parameters))
    return mean / share, spread * share


def _weight(site: Site, parameters: SearchParameters) -> float:
    return {"knob": 1.0, "named": parameters.named, "inner": parameters.inner}[site.rank]
