"""Second measures that must not get worse while the metric gets better.

Each guard is the most that a candidate may have of something, as a multiple of what its head has:
`memory: 1.1` allows a tenth more peak memory. A violated guard is a discard with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from harness.contract import Outcome

UNITS = {"memory": "MiB of peak memory", "seconds": "s of wall time", "parameters": "parameters"}
"""What each measured guard counts; `lines` of the genome are counted at admission."""


@dataclass(frozen=True, slots=True)
class Guards:
    """The limits, None where a measure is free."""

    memory: float | None = None
    seconds: float | None = None
    parameters: float | None = None
    lines: float | None = None


def measures(outcome: Outcome) -> dict[str, float]:
    """Return what an outcome says of each guarded measure that the harness took."""
    taken = {"memory": outcome.peak_mib, "seconds": outcome.seconds.get("budget", 0.0)}
    if "parameters" in outcome.facts:
        taken["parameters"] = outcome.facts["parameters"]
    return taken


def violated(guards: Guards, head: Mapping[str, float], candidate: Mapping[str, float]) -> str:
    """Return the first guard that `candidate` breaks, as a reason; empty where it breaks none."""
    for guard in fields(guards):
        limit: float | None = getattr(guards, guard.name)
        ours, theirs = candidate.get(guard.name), head.get(guard.name)
        if limit is None or ours is None or theirs is None or ours <= limit * theirs:
            continue
        unit = UNITS.get(guard.name, f"{guard.name} of genome")
        return f"guard: {ours:,.6g} {unit}, the head has {theirs:,.6g}; {limit:g} times is allowed"
    return ""
