"""The choice of the slice that an island measures on, as slices are quarantined and released."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.contract import Slice
from islands.state.run_state import State
from swarm.coordinator.launch_plan import IslandPlan


@dataclass(frozen=True, slots=True)
class SliceChoice:
    """The slices of a launch, each an island's home, and their condition by `state`."""

    islands: Sequence[IslandPlan]
    state: State

    @property
    def by_name(self) -> dict[str, Slice]:
        """Every slice of the launch by name."""
        return {island.slice.name: island.slice for island in self.islands}

    def current(self, island: str) -> Slice:
        """Return the slice that `island` measures on now."""
        return self.by_name[self.state.islands[island].slice.name]

    def fallback(self, island: str) -> Slice | None:
        """Return a steady slice for `island`: its home, else the least used, or None."""
        sentinels = self.state.sentinels
        steady = [
            slice_ for name, slice_ in self.by_name.items() if not sentinels.quarantine_reason(name)
        ]
        if not steady:
            return None
        home = self.state.islands[island].home
        if home in steady:
            return home
        used = [self.state.islands[plan.name].slice.name for plan in self.islands]
        return min(steady, key=lambda slice_: used.count(slice_.name))

    @property
    def stuck_reason(self) -> str:
        """Why no slice can be measured on any more; empty while one may come back."""
        sentinels = self.state.sentinels
        if not all(map(sentinels.retries_exhausted, self.by_name)):
            return ""
        return "; ".join(f"{name}: {sentinels.quarantine_reason(name)}" for name in self.by_name)
