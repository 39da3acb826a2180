"""Lifecycle of an experiment: a table of states, what can happen in each, and the next state.

The diagram in islands/state/README.md is drawn from this table (`diagram`). An occurrence that the
table does not list raises LifecycleError: it is a bug of swarm, never a candidate's.
"""

from __future__ import annotations

from typing import Literal

ExperimentState = Literal[
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
    "checked",
    "failed",
    "keep",
    "discard",
    "voided",
]

LIFECYCLE: dict[ExperimentState, dict[Occurrence, ExperimentState]] = {
    "proposed": {"refused": "refused", "admitted": "waiting"},
    "waiting": {"rebased": "waiting", "dropped": "outdated", "screened": "screening"},
    "screening": {
        "screened": "screening",
        "voided": "screening",  # its slice drifted: the experiment starts over
        "checked": "screening",
        "confirmed": "confirming",
        "failed": "failed",
        "keep": "kept",  # a migrant on its first trial, or by a rule that confirms nothing
        "discard": "discarded",
    },
    "confirming": {
        "voided": "screening",
        "confirmed": "confirming",
        "checked": "confirming",
        "failed": "failed",
        "keep": "kept",
        "discard": "discarded",
    },
    "kept": {},
    "discarded": {},
    "failed": {},
    "refused": {},
    "outdated": {},
}


class LifecycleError(Exception):
    """Something happened to an experiment that its state does not allow."""


def next_state(state: ExperimentState, occurrence: Occurrence) -> ExperimentState:
    """Return the state after `occurrence`. Raises LifecycleError where the table has none."""
    try:
        return LIFECYCLE[state][occurrence]
    except KeyError:
        raise LifecycleError(f"an experiment that is {state} cannot be {occurrence}") from None


def has_ended(state: ExperimentState) -> bool:
    """Return whether `state` is final."""
    return not LIFECYCLE[state]


def diagram() -> str:
    """Return the table as a Mermaid state diagram, one arrow per pair of states.

    It stands in islands/state/README.md.
    """
    lines = ["stateDiagram-v2", "    [*] --> proposed"]
    for state, successors in LIFECYCLE.items():
        events: dict[str, list[str]] = {}
        for event, successor in successors.items():
            events.setdefault(successor, []).append(event)
        lines += [f"    {state} --> {then}: {', '.join(names)}" for then, names in events.items()]
    return "\n".join(lines)
