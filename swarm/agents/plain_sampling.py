"""The control `iid`: a model that sees the seed genome and nothing of what was tried.

Its proposals are what plain sampling from the model gives. Each is applied to the island's head and
judged there, so it meets the same noise and costs the same trials as any other; where it conflicts
with what the head holds, it is refused. The swarm's memory, briefs and migration are worth what the
same model earns beyond it for the same cost.

Not covered: on a head that holds kept changes its proposals gain more, or less, than on the seed
genome; repeats of what was tried are answered from the record for it as for everybody.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from islands.records import Attempt, Brief, Proposal
from swarm.agents.base import Agent

IID: Final = "iid"
"""Its name in `team`; no agent of program.md may have it."""


@dataclass(slots=True)
class PlainSampling:
    """Asks the model of another agent without history; that agent is asked and closed by others."""

    model: Agent
    name: str = IID

    async def propose(self, brief: Brief) -> Proposal:
        """Return the model's proposal for a brief that shows no history."""
        return await self.model.propose(without_history(brief))

    def learn(self, attempt: Attempt) -> None:
        """Learn nothing."""


def without_history(brief: Brief) -> Brief:
    """Return a brief on its genome alone."""
    return replace(
        brief,
        recent=(),
        elsewhere=(),
        pending=(),
        claims=(),
        port=None,
        temperament="",
        learned="",
    )
