"""The fold of events into the slice of each island."""

from __future__ import annotations

from islands import events as ev


class IslandSlices:
    """The slice that each island measures on, by name."""

    def __init__(self) -> None:
        self._by_island: dict[str, str] = {}

    def opened(self, event: ev.IslandOpened) -> None:
        """Take in an island's first slice."""
        self._by_island[event.island] = event.slice.name

    def left(self, event: ev.IslandReassigned) -> str:
        """Take in a move and return the slice that is left, "" where it is the same."""
        before, now = self._by_island[event.island], event.slice.name
        self._by_island[event.island] = now
        return before if before != now else ""
