"""The choice of the slice that an island measures on, as slices are quarantined and released."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.contract import Slice
from islands.drift.sentinels import SETTLED_SENTINELS
from islands.scheduling.island_steps import anchor_runs
from islands.state.run_state import State
from swarm.coordinator.launch_plan import IslandPlan

MAX_PROBE_PAUSE = 16
"""Longest pause between two probes of a slice, in trials, while no other slice is steady."""


@dataclass(frozen=True, slots=True)
class ProbeTurn:
    """The slice whose probe is next, and in how many seconds."""

    slice: str
    wait_s: float


@dataclass(frozen=True, slots=True)
class SliceChoice:
    """The slices of a launch, each an island's home, and their condition by `state`."""

    islands: Sequence[IslandPlan]
    state: State
    _probed: dict[str, float] = field(default_factory=dict)
    """When a slice was last probed for want of a steady one."""

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

    def next_probe(self, now: float) -> ProbeTurn | None:
        """Return the turn of the quarantined slice that is probed next, None if all are busy.

        Each gets its first probes at once, then they come ever more slowly: a disturbance of an
        hour must not end a night.
        """
        turns = [
            (
                max(0.0, self._probed.get(name, now) + self._pause_s(name) - now),
                self._probes(name),
                n,
            )
            for n, name in enumerate(self.by_name)
            if not self.state.sentinels.retries_exhausted(name)
            and not anchor_runs(self.state, name)
        ]
        if not turns:
            return None
        wait_s, _, first = min(turns)
        return ProbeTurn([*self.by_name][first], wait_s)

    def probed(self, name: str, now: float) -> None:
        """Note that slice `name` was probed."""
        self._probed[name] = now

    def _probes(self, name: str) -> int:
        return len(self.state.sentinels.slices[name].probes)

    def _pause_s(self, name: str) -> float:
        """Return the seconds from one probe of a slice to the next."""
        late = self._probes(name) - SETTLED_SENTINELS
        trials = min(2**late, MAX_PROBE_PAUSE) if late >= 0 else 0
        return trials * self.state.run.rungs[0].seconds

    @property
    def stuck_reason(self) -> str:
        """Why no slice can be measured on any more; empty while one may come back."""
        sentinels = self.state.sentinels
        if not all(map(sentinels.retries_exhausted, self.by_name)):
            return ""
        return "; ".join(f"{name}: {sentinels.quarantine_reason(name)}" for name in self.by_name)
