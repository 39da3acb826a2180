"""Temperaments: the kind of change that an island's briefs ask for, so that islands differ.

The words fit programs of any kind, not only training runs.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Literal, get_args

Temperament = Literal[
    "architecture",
    "optimiser",
    "schedule",
    "data",
    "efficiency",
    "simplification",
    "wildcard",
]

INSTRUCTIONS: Mapping[str, str] = {
    "architecture": "Change how the program is built: its parts, and how they work together.",
    "optimiser": "Change the method by which it searches, learns or solves: its update, its steps.",
    "schedule": "Change what it does when: the order, warm-up, decay, and when it stops.",
    "data": "Change what it works on: order, batches, layout or representation of its input.",
    "efficiency": "Make it faster or leaner, so that the same budget does more.",
    "simplification": "Remove or merge something: what is not worth its cost or its lines?",
    "wildcard": "Try what nobody would expect here, and say why it might work.",
}
"""What a brief asks for, by temperament."""


def spread(islands: int, seed: int) -> tuple[str, ...]:
    """Return a temperament for each island, as different as they can be, in an order by `seed`."""
    names: list[str] = list(get_args(Temperament))
    random.Random(seed).shuffle(names)
    return tuple(names[number % len(names)] for number in range(islands))
