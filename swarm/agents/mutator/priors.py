"""The mutator's search parameters, and the prior of each site before it is tried."""

from __future__ import annotations

import math
from dataclasses import dataclass

from swarm.agents.mutator.edit_sites import Site
from swarm.agents.mutator.identifiers import words
from swarm.agents.mutator.moves import MoveKind
from swarm.agents.mutator.surrogate import NumberPrior


@dataclass(frozen=True, slots=True)
class SearchParameters:
    """Parameters of the search. Gains are in units of the spread of a score between seeds.

    `margin`: gain above which an improvement counts.
    `greed`: exponent of a move's merit when the order is drawn.
    `misfit`: error of the surrogate; `drift`: its growth with each keep since.
    `reach`, `dead`: of `NumberPrior`.
    `option`: mean and spread of an option's gain over the present one.
    `inner`, `named`: weight of numbers in bodies, and of defaults, attributes and keywords.
    `crush`, `stretch`: error of an observation as a share of its loss, and of its gain.
    `joint`: sites in a joint move at most; `joint_from`: least mean gain of each.
    `crowded`: factor of a move's merit for each move under way at its site, on whatever island.
    `shrink`, `elsewhere`: share of a gain measured elsewhere expected here, and its spread.
    `exhaustive`: consider every site and edit, which takes longer: to know that nothing is left.
    """

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
    crowded: float = 0.3
    exhaustive: bool = False


RUN_COUNTS: dict[MoveKind, tuple[float, float]] = {
    "number": (9.0, 1.0),
    "option": (9.0, 1.0),
    "cross": (19.0, 1.0),
    "term": (3.0, 2.0),
    "statement": (3.0, 2.0),
    "swap": (3.0, 2.0),
}
"""Prior counts of moves of each kind after which the program runs, and breaks."""

STRUCTURAL_GAINS: dict[MoveKind, tuple[float, float]] = {
    "term": (-3.0, 2.0),
    "statement": (-3.0, 2.0),
    "swap": (-2.5, 2.0),
}
"""Mean and spread of a structural edit's gain, in units: most of them lose."""

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
    """Return the prior of a number, by the words of its name and its prominence."""
    name_words, weight = words(site.name), _weight(site, parameters)
    if name_words & STRONG_WORDS:
        return NumberPrior(parameters.reach, weight * 1.5, parameters.dead / 2)
    if name_words & WEAK_WORDS:
        return NumberPrior(parameters.reach, weight * 0.5, (1 + parameters.dead) / 2)
    return NumberPrior(parameters.reach, weight, parameters.dead)


def option_prior(site: Site, parameters: SearchParameters) -> tuple[float, float]:
    """Return the prior mean and spread of the gain of an option of `site`, in units."""
    (mean, spread), share = parameters.option, math.sqrt(_weight(site, parameters))
    return mean / share, spread * share


def _weight(site: Site, parameters: SearchParameters) -> float:
    return {"knob": 1.0, "named": parameters.named, "inner": parameters.inner}[site.rank]
