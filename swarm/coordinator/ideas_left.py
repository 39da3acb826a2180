"""Agents of an island that have something left to try on its head. No I/O, no clock.

An agent has nothing left once it says so, or once its last MAX_REPEATS proposals all repeat what
was tried (swarm/coordinator/repeats.py). It may have more when the head moves or anybody keeps a
change: that is its `Place`. Of a team the others are asked meanwhile; when none of them has
anything left, the island is exhausted (islands/state) and all are asked again at the next place.

Not covered: an agent that is only told that its ideas are being tried is asked again, at growing
intervals.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from islands.records import Attempt
from islands.state.arms import ProposalArm

Place: TypeAlias = tuple[str, int]
"""An island's head, and how many changes the run has kept."""

MAX_REPEATS = 40
"""Repeats in a row after which an agent counts as having nothing left to try on this head."""

MAX_PAID_REPEATS = 9
"""The same for an agent that asks a model, where each is paid for; its briefs speak of them.

Three requests: a refused proposal is sent back twice with what it repeats.
"""


@dataclass(slots=True)
class IdeasLeft:
    """What the agents of one island have left, by their names in its arms."""

    arms: tuple[ProposalArm, ...]
    _out_at: dict[str, Place] = field(default_factory=dict)
    """Agents that have nothing left, and where that was."""

    _repeats: dict[str, int] = field(default_factory=dict)
    """Proposals in a row that repeat what was tried, by agent."""

    def willing(self, place: Place) -> tuple[ProposalArm, ...]:
        """Return the arms whose agents have something left to try; all, if none has."""
        return tuple(arm for arm in self.arms if self._out_at.get(arm.agent) != place) or self.arms

    def end(self, agent: str, place: Place) -> bool:
        """Note that `agent` has nothing left; return whether another of its team may have more."""
        self._out_at[agent] = place
        if all(self._out_at.get(arm.agent) == place for arm in self.arms):
            self._out_at.clear()
            return False
        return True

    def count(self, agent: str, attempt: Attempt | None) -> None:
        """Count the attempt that a proposal of `agent` has ended as, None where it is tried."""
        if attempt is None or not attempt.repeats:
            self._repeats[agent] = 0
        elif not attempt.claimed:
            self._repeats[agent] = self._repeats.get(agent, 0) + 1

    def only_repeats(self, agent: str, most: int) -> bool:
        """Return whether the last `most` proposals of `agent` were repeats; count anew then."""
        if self._repeats.get(agent, 0) < most:
            return False
        self._repeats[agent] = 0
        return True
