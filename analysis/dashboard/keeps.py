"""Kept changes as the feed shows them, before the record that the page reads holds them.

A keep's event names neither its idea nor its size: earlier events do, so they are remembered.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from islands import events as ev

MAX_REMEMBERED: Final = 2_000
"""Experiments that are remembered: the latest."""


@dataclass(frozen=True, slots=True)
class ListedKeep:
    """A kept change, with the columns that the page's list of them shows.

    gain, noise: None where it was kept without a measured gain
    added, removed: lines, None where they are not remembered
    ended: when it was kept, UTC
    """

    experiment: int
    island: str
    hypothesis: str
    gain: float | None
    noise: float | None
    added: int | None
    removed: int | None
    ended: datetime


class OpenExperiments:
    """What the latest events say of experiments: their hypotheses and their lines."""

    def __init__(self) -> None:
        self.hypotheses: dict[int, str] = {}
        self._lines: dict[int, tuple[int, int]] = {}

    def take(self, event: ev.Event) -> ListedKeep | None:
        """Take in the next event; return the change that it kept, if it kept one."""
        match event:
            case ev.ProposalReceived():
                self.hypotheses[event.experiment] = event.hypothesis
            case ev.MigrantOffered():
                self.hypotheses[event.experiment] = event.migrant.hypothesis
            case ev.CandidateAdmitted() | ev.CandidateRebased():
                self._lines[event.experiment] = event.added, event.removed
            case ev.VerdictReached(verdict="keep", null=False):
                return self._kept(event)
        for known in (self.hypotheses, self._lines):
            if len(known) > MAX_REMEMBERED:
                del known[next(iter(known))]
        return None

    def _kept(self, event: ev.VerdictReached) -> ListedKeep:
        number, gain = event.experiment, event.gain
        added, removed = self._lines.get(number, (None, None))
        return ListedKeep(
            experiment=number,
            island=event.island,
            hypothesis=self.hypotheses.get(number, ""),
            gain=None if gain is None else gain.mean,
            noise=None if gain is None else gain.noise,
            added=added,
            removed=removed,
            ended=datetime.fromtimestamp(event.recorded, UTC),
        )
