"""What the mutator remembers of its attempts, bounded whatever the length of the run."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from islands.records import Attempt
from swarm.agents.mutator.moves import MovePart, MoveRecord, from_notes
from swarm.agents.mutator.surrogate import NumberObservation, OptionObservation

MAX_SITES = 1024
"""Sites that are remembered, those of the latest attempts."""

MAX_ATTEMPTS_PER_SITE = 24
"""Attempts that are remembered of each site: older ones were made on heads long left."""

MAX_HEADS = 4
MAX_EDITS_PER_HEAD = 20_000
"""Edits that are remembered as tried, on each of the latest heads."""

MAX_GAIN_UNITS = 1e3
"""What a gain or its noise counts for at most: a loss that exploded is no more than a bad one."""

COUNT_DECAY = 0.98
"""What a kind's record of running or breaking keeps from attempt to attempt: some 50 count."""


@dataclass(slots=True)
class SiteHistory:
    """What is remembered of one site: evidence with its age, and what broke the program.

    Ages are the number of keeps before the attempt. `walls` are moves of a number that broke the
    program, `broken_options` the values that did.
    """

    number_observations: deque[tuple[int, NumberObservation]] = field(
        default_factory=lambda: deque(maxlen=MAX_ATTEMPTS_PER_SITE)
    )
    option_observations: deque[tuple[int, OptionObservation]] = field(
        default_factory=lambda: deque(maxlen=MAX_ATTEMPTS_PER_SITE)
    )
    walls: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=4))
    broken_options: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_ATTEMPTS_PER_SITE))
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
        self._sites: OrderedDict[str, SiteHistory] = OrderedDict()
        self._kinds: dict[str, tuple[float, float]] = {}
        self._tried: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()

    def site(self, site: str) -> SiteHistory:
        """Return what is remembered of `site` (an empty trace for an unknown one)."""
        return self._sites.get(site) or SiteHistory()

    def run_counts(self, kind: str) -> tuple[float, float]:
        """Return how many moves of a kind ran and how many broke the program, of late."""
        return self._kinds.get(kind, (0.0, 0.0))

    def was_tried(self, head: str, edit: str) -> bool:
        """Say whether `edit_id` was tried on `head`."""
        return edit in self._tried.get(head, ())

    def record(self, attempt: Attempt) -> None:
        """Remember `attempt`; another agent's says nothing of our sites, nor one that never ran."""
        noted = from_notes(attempt.notes)
        if noted is None or attempt.ending == "outdated":
            return
        self._mark_tried(noted)
        broke = attempt.ending in {"failed", "refused"}
        good, bad = self.run_counts(noted.kind)
        self._kinds[noted.kind] = (COUNT_DECAY * good + (not broke), COUNT_DECAY * bad + broke)
        if broke:
            self._record_break(noted)
        else:
            self._record_gain(attempt, noted)
        self.keeps += attempt.ending == "kept"

    def mark_tried(self, notes: Mapping[str, str | float]) -> None:
        """Remember no more than that the edit of these notes was tried on its head, or soon is."""
        noted = from_notes(notes)
        if noted is not None:
            self._mark_tried(noted)

    def _mark_tried(self, noted: MoveRecord) -> None:
        tried = self._tried.setdefault(noted.head, OrderedDict())
        tried[noted.edit_id] = None
        _trim(tried, MAX_EDITS_PER_HEAD)
        _trim(self._tried, MAX_HEADS)

    def _record_break(self, noted: MoveRecord) -> None:
        """Of several parts, those whose sites never ran before are to blame; or else all."""
        traces = [(part, self._site(part.site)) for part in noted.parts]
        new = [(part, trace) for part, trace in traces if not trace.ran]
        for part, trace in new or traces:
            trace.broke += 1
            trace.broken_options.append(part.new)
            if part.start is not None and part.end is not None:
                trace.walls.append((part.start, part.end))

    def _record_gain(self, attempt: Attempt, noted: MoveRecord) -> None:
        gain, variance = _gain_and_variance(attempt, noted.unit)
        for part in noted.parts:
            trace = self._site(part.site)
            trace.ran += 1
            # of a joint move each part gets what the forecasts of the others leave
            others = [other.forecast for other in noted.parts if other is not part]
            own = gain - sum(other.mean for other in others)
            spread = variance + sum(other.variance for other in others)
            self._observe(trace, part, own, spread)

    def _observe(self, trace: SiteHistory, part: MovePart, gain: float, variance: float) -> None:
        if part.start is not None and part.end is not None:
            trace.number_observations.append(
                (self.keeps, NumberObservation(part.start, part.end, gain, variance))
            )
        else:
            trace.option_observations.append(
                (self.keeps, OptionObservation(part.old, part.new, gain, variance))
            )

    def _site(self, site: str) -> SiteHistory:
        trace = self._sites.setdefault(site, SiteHistory())
        self._sites.move_to_end(site)
        _trim(self._sites, MAX_SITES)
        return trace


def _gain_and_variance(attempt: Attempt, unit: float) -> tuple[float, float]:
    """Return the gain of an attempt that ran, and its variance."""
    if attempt.gain is None:  # discarded unmeasured: not good enough, and no more is known
        return -0.5 * unit, (1.5 * unit) ** 2
    if attempt.gain.mean == 0.0:  # to the last digit: the program did the very same thing
        return 0.0, (0.1 * unit) ** 2
    bound = MAX_GAIN_UNITS * unit
    gain, noise = attempt.gain.mean, min(attempt.gain.noise, bound)
    return max(-bound, min(bound, gain)), noise**2


def _trim(memory: OrderedDict[str, Any], most: int) -> None:
    while len(memory) > most:
        memory.popitem(last=False)
