"""The life of an experiment as a table: states, what can happen in each, what follows.

The README's diagram is drawn from this table (`diagram`), and an occurrence that the table does
not list raises: it is our bug, never a candidate's.
"""

from __future__ import annotations

from typing import Literal

State = Literal[
    "proposed",
    "waiting",
    "screening",
    "confirming",
    "kept",
    "discarded",
    "failed",
    "refused",
    "outdated",
]
Occurrence = Literal[
    "refused",
    "admitted",
    "rebased",
    "dropped",
    "screened",
    "confirmed",
    "broke",
    "keep",
    "discard",
    "tainted",
]

LIFE: dict[State, dict[Occurrence, State]] = {
    "proposed": {"refused": "refused", "admitted": "waiting"},
    "waiting": {"rebased": "waiting", "dropped": "outdated", "screened": "screening"},
    "screening": {
        "screened": "screening",
        "tainted": "screening",  # its slice drifted: it begins again
        "confirmed": "confirming",
        "broke": "failed",
        "keep": "kept",  # a migrant on its first trial, or by a rule that confirms nothing
        "discard": "discarded",
    },
    "confirming": {
        "tainted": "screening",
        "confirmed": "confirming",
        "broke": "failed",
        "keep": "kept",
        "discard": "discarded",
    },
    "kept": {},
    "discarded": {},
    "failed": {},
    "refused": {},
    "outdated": {},
}


class LifeError(Exception):
    """Something happened to an experiment that its state does not allow."""


def follow(state: State, occurrence: Occurrence) -> State:
    """Return the state after `occurrence`. Raises LifeError where the table has none."""
    try:
        return LIFE[state][occurrence]
    except KeyError:
        raise LifeError(f"an experiment that is {state} cannot be {occurrence}") from None


def ended(state: State) -> bool:
    """Return whether nothing can happen to an experiment in `state` any more."""
    return not LIFE[state]


def diagram() -> str:
    """Return the table as a Mermaid state diagram, as it stands in the README."""
    lines = ["stateDiagram-v2", "    [*] --> proposed"]
    for state, successors in LIFE.items():
        lines += [f"    {state} --> {then}: {why}" for why, then in successors.items()]
        if ended(state):
            lines.append(f"    {state} --> [*]")
    return "\n".join(lines)
