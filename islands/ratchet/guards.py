"""Guards: second measures that must not get worse while the metric gets better.

A guard is the most that a candidate may have of a measure, as a multiple of what its head has:
`memory: 1.1` allows a tenth more peak memory. A violated guard is a discard with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from harness.contract import Outcome

UNITS = {"memory": "MiB of peak memory", "seconds": "s of wall time", "parameters": "parameters"}
"""Unit of each measured guard; `lines` of the genome are counted at admission."""


@dataclass(frozen=True, slots=True)
class Guards:
    """The limits as multiples of the head's measures, None where a measure is free.

    - `memory`: peak memory of a trial
    - `seconds`: wall time of a trial
    - `parameters`: model parameters
    - `lines`: lines of the genome
    """

    memory: float | None = None
    seconds: float | None = None
    parameters: float | None = None
    lines: float | None = None


def measures(outcome: Outcome) -> dict[str, float]:
    """Return the guarded measures that the harness took in a trial, by the guard's name."""
    taken = {"memory": outcome.peak_mib, "seconds": outcome.seconds.get("budget", 0.0)}
    if "parameters" in outcome.facts:
        taken["parameters"] = outcome.facts["parameters"]
    return taken


def violated_guard(
    guards: Guards, head: Mapping[str, float], candidate: Mapping[str, float]
) -> str:
    """Return the first guard that `candidate` violates, as a reason; "" where there is none."""
    for guard in fields(guards):
        limit: float | None = getattr(guards, guard.name)
        candidate_value, head_value = candidate.get(guard.name), head.get(guard.name)
        if limit is None or candidate_value is None or head_value is None:
            continue
        if candidate_value <= limit * head_value:
            continue
        unit = UNITS.get(guard.name, f"{guard.name} of genome")
        return (
            f"guard: {candidate_value:,.6g} {unit}, the head has {head_value:,.6g};"
            f" {limit:g} times is allowed"
        )
    return ""
