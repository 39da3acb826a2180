"""What the mutator remembers of its attempts, bounded whatever the length of the run."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from islands.records import Attempt
from swarm.agents.mutator.moves import MovePart, MoveRecord, read
from swarm.agents.mutator.surrogate import ChosenMove, Observation

SITES = 1024
"""Sites that are remembered, those of the latest attempts."""

EACH = 24
"""Attempts that are remembered of each site: older ones were made on heads long left."""

HEADS = 4
TRIED = 20_000
"""Edits that are remembered as tried, on each of the latest heads."""

MOST_UNITS = 1e3
"""What a gain or its noise counts for at most: a loss that exploded is no more than a bad one."""

RECENT = 0.98
"""What a kind's record of running or breaking keeps from attempt to attempt: some 50 count."""


@dataclass(slots=True)
class Trace:
    """What is remembered of one site: evidence with its age, and what broke the program.

    Ages are the number of keeps before the attempt. `walls` are moves of a number that broke the
    program, `failed` the values that did.
    """

    seen: deque[tuple[int, Observation]] = field(default_factory=lambda: deque(maxlen=EACH))
    chosen: deque[tuple[int, ChosenMove]] = field(default_factory=lambda: deque(maxlen=EACH))
    walls: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=4))
    failed: deque[str] = field(default_factory=lambda: deque(maxlen=EACH))
    ran: int = 0
    broke: int = 0

    @property
    def attempts(self) -> int:
        """Return how often the site was tried."""
        return self.ran + self.broke


class MoveHistory:
    """The fold of the attempts."""

    def __init__(self) -> None:
        self.keeps = 0
        self._traces: OrderedDict[str, Trace] = OrderedDict()
        self._kinds: dict[str, tuple[float, float]] = {}
        self._tried: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()

    def trace(self, site: str) -> Trace:
        """Return what is remembered of `site` (an empty trace for an unknown one)."""
        return self._traces.get(site) or Trace()

    def record(self, kind: str) -> tuple[float, float]:
        """Return how many moves of a kind ran and how many broke the program, of late."""
        return self._kinds.get(kind, (0.0, 0.0))

    def tried(self, head: str, edit: str) -> bool:
        """Say whether `edit` was tried on `head`."""
        return edit in self._tried.get(head, ())

    def take(self, attempt: Attempt) -> None:
        """Remember `attempt`; another agent's says nothing of our sites, nor one that never ran."""
        noted = read(attempt.notes)
        if noted is None or attempt.ending == "outdated":
            return
        self._mark(noted)
        broke = attempt.ending in {"failed", "refused"}
        good, bad = self.record(noted.kind)
        self._kinds[noted.kind] = (RECENT * good + (not broke), RECENT * bad + broke)
        if broke:
            self._blame(noted)
        else:
            self._weigh(attempt, noted)
        self.keeps += attempt.ending == "kept"

    def mark(self, notes: Mapping[str, str | float]) -> None:
        """Remember no more than that the edit of these notes was tried on its head, or soon is."""
        noted = read(notes)
        if noted is not None:
            self._mark(noted)

    def _mark(self, noted: MoveRecord) -> None:
        tried = self._tried.setdefault(noted.head, OrderedDict())
        tried[noted.edit] = None
        _bound(tried, TRIED)
        _bound(self._tried, HEADS)

    def _blame(self, noted: MoveRecord) -> None:
        """Of several parts, those whose sites never ran before are to blame; or else all."""
        traces = [(part, self._open(part.site)) for part in noted.parts]
        new = [(part, trace) for part, trace in traces if not trace.ran]
        for part, trace in new or traces:
            trace.broke += 1
            trace.failed.append(part.new)
            if part.start is not None and part.end is not None:
                trace.walls.append((part.start, part.end))

    def _weigh(self, attempt: Attempt, noted: MoveRecord) -> None:
        gain, variance = _measured(attempt, noted.unit)
        for part in noted.parts:
            trace = self._open(part.site)
            trace.ran += 1
            # of a joint move each part gets what the forecasts of the others leave
            others = [other.forecast for other in noted.parts if other is not part]
            own = gain - sum(other.mean for other in others)
            spread = variance + sum(other.variance for other in others)
            self._add(trace, part, own, spread)

    def _add(self, trace: Trace, part: MovePart, gain: float, variance: float) -> None:
        if part.start is not None and part.end is not None:
            trace.seen.append((self.keeps, Observation(part.start, part.end, gain, variance)))
        else:
            trace.chosen.append((self.keeps, ChosenMove(part.old, part.new, gain, variance)))

    def _open(self, site: str) -> Trace:
        trace = self._traces.setdefault(site, Trace())
        self._traces.move_to_end(site)
        _bound(self._traces, SITES)
        return trace


def _measured(attempt: Attempt, unit: float) -> tuple[float, float]:
    """Return the gain of an attempt that ran, and its variance."""
    if attempt.gain is None:  # discarded unmeasured: not good enough, and no more is known
        return -0.5 * unit, (1.5 * unit) ** 2
    if attempt.gain.mean == 0.0:  # to the last digit: the program did the very same thing
        return 0.0, (0.1 * unit) ** 2
    bound = MOST_UNITS * unit
    gain, noise = attempt.gain.mean, min(attempt.gain.noise, bound)
    return max(-bound, min(bound, gain)), noise**2


def _bound(memory: OrderedDict[str, Any], most: int) -> None:
    while len(memory) > most:
        memory.popitem(last=False)
