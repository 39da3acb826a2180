"""The state of one slice that sentinels watch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from islands import events as ev

SliceEpoch: TypeAlias = tuple[str, int]
"""A slice's name, and the number of a level that it had: 0 at first, then one more whenever it was
released with another level, or seen to have moved to one (`Sentinels.moved`)."""


@dataclass(slots=True)
class WatchedSlice:
    """The state of one slice.

    - `level`: scores of its good sentinels
    - `suspicious`: scores of the latest sentinels, none of them good
    - `answered`: whether a head that ran again since the latest of these scored as before
    - `failures`: latest sentinels in a row that failed
    - `moves`: how often its level moved without being steady in between
    - `trials`, `sentinels`: how many it has run; heads that run again are none of the sentinels
    - `last_good_trial`: trial id of the last good sentinel
    - `trials_since`, `discards_since`: those after it that void would be, and discards that rest on
      them
    - `count_since`: trials after the latest sentinel, good or not
    - `drift_reason`: why it has drifted, until that is on record
    - `quarantine_reason`: why it is quarantined, "" where it is not
    - `moved_to`: scores of the sentinels that showed its drift
    - `probes`: scores of its sentinels since then, nan where one failed
    - `tolerance`: how far from the level a probe may be
    - `last_sentinel`: trials of the run that had started by its latest sentinel
    - `epoch`, `epochs`: which of its levels it has, and how many it had before
    """

    level: list[float] = field(default_factory=list)
    suspicious: list[float] = field(default_factory=list)
    answered: bool = False
    failures: int = 0
    trials: int = 0
    sentinels: int = 0
    last_good_trial: str = ""
    count_since: int = 0
    trials_since: list[ev.VoidedTrial] = field(default_factory=list)
    discards_since: list[ev.VoidedDiscard] = field(default_factory=list)
    drift_reason: str = ""
    quarantine_reason: str = ""
    moved_to: list[float] = field(default_factory=list)
    probes: list[float] = field(default_factory=list)
    tolerance: float = 0.0
    last_sentinel: int = 0
    epoch: int = 0
    epochs: int = 0
    moves: int = 0

    def latest(self, count: int) -> list[float]:
        """Return the scores of its latest sentinels, of those that are off its level."""
        return [*self.moved_to, *self.probes][-count:]
