"""Keeps the git branches of islands where the ledger has their heads, and other refs few.

A person may delete or move a branch while the run goes on. It is then treated as at a resume: what
is gone is made again, what the swarm made is moved, and where commits of theirs could be lost the
launch ends and says what to do.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from islands.git.refs import HeadMovedError
from islands.promotion import consensus
from islands.state.run_state import State
from swarm.coordinator.interfaces import BranchStore, Offload

PACKED = 256
"""Experiments after which candidates are packed: 0.1 s of work, and so few refs are seen."""


@dataclass(slots=True)
class BranchSync:
    """Moves branches after the event that moved a head is recorded, never before."""

    branches: BranchStore
    state: State
    offload: Offload
    _heads: dict[str, str] = field(default_factory=dict)
    _packed: int = 0
    """Experiments when candidates were packed last."""
    _moving: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def restore(self) -> None:
        """Bring all branches in line with the ledger, wherever a killed coordinator left them."""
        heads = {name: island.head for name, island in self.state.islands.items()}
        if built := self.state.promotions.branch:
            heads[consensus.NAME] = built
        if heads == self._heads:
            return  # a resume restores before its first event, and again after what it settles
        await self.offload(self.branches.sync_branches, heads)
        self._heads, self._packed = heads, self.state.experiments

    async def advance(self) -> None:
        """Move each branch to its island's head if that has changed, one branch at a time.

        Then pack candidates, if there are many. Raises SetupError as `move` does.
        """
        async with self._moving:
            for name, island in self.state.islands.items():
                head, old = island.head, self._heads[name]
                if head != old:
                    await self.move(name, head, old)
                    self._heads[name] = head
            if self.state.experiments >= self._packed + PACKED:
                self._packed = self.state.experiments
                await self.offload(self.branches.pack_candidates, self.state.run.base)

    async def move(self, name: str, new: str, old: str) -> None:
        """Move a branch from `old` to `new`, wherever a person has put it; an `old` of "" makes it.

        Raises SetupError where a commit of the user's could be lost.
        """
        try:
            await self.offload(self.branches.advance, name, new, old)
        except HeadMovedError:
            await self.offload(self.branches.sync_branches, {name: new})
