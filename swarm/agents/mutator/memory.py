"""What the mutator remembers of its attempts: bounded, whatever the length of the run."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from islands.records import Attempt
from swarm.agents.mutator.model import Chosen, Seen

SITES = 1024
"""Sites that are remembered, those of the latest attempts."""
EACH = 24
"""Attempts that are remembered of each site: older ones were made on heads long left."""
HEADS = 4
TRIED = 20_000
"""Edits that are remembered as tried on each of the latest heads."""

Notes = Mapping[str, str | float]


@dataclass(slots=True)
class Trace:
    """What is remembered of one site: (age, evidence) pairs, and where the program broke."""

    seen: deque[tuple[int, Seen]] = field(default_factory=lambda: deque(maxlen=EACH))
    chosen: deque[tuple[int, Chosen]] = field(default_factory=lambda: deque(maxlen=EACH))
    broken: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=4))
    failed: deque[str] = field(default_factory=lambda: deque(maxlen=EACH))
    ran: int = 0
    broke: int = 0


class Memory:
    """The fold of the attempts."""

    def __init__(self) -> None:
        self.keeps = 0
        self.traces: OrderedDict[str, Trace] = OrderedDict()
        self.runs: dict[str, list[float]] = {}
        self._tried: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()

    def trace(self, site: str) -> Trace:
        """Return what is remembered of `site` (an empty trace for an unknown one)."""
        return self.traces.get(site) or Trace()

    def tried(self, head: str, key: str) -> bool:
        """Say whether the edit `key` was tried on `head`."""
        return key in self._tried.get(head, ())

    def take(self, attempt: Attempt) -> None:
        """Remember `attempt`; one that is not the mutator's own says nothing of its sites."""
        notes = attempt.notes
        if "edit" not in notes:
            return
        self.note_tried(attempt)
        kind = str(notes["kind"])
        counts = self.runs.setdefault(kind, [0.0, 0.0])
        broke = attempt.ending in {"failed", "refused"}
        counts[0] = 0.98 * counts[0] + (not broke)
        counts[1] = 0.98 * counts[1] + broke
        parts = list(_parts(notes))
        traces = [self._open(str(part["site"])) for part in parts]
        if broke:
            # of several, those that never ran before are to blame
            new = [i for i, trace in enumerate(traces) if not trace.ran] or range(len(parts))
            for i in new:
                _blame(traces[i], parts[i])
            return
        for part, trace in zip(parts, traces, strict=True):
            trace.ran += 1
            others = [other for other in parts if other is not part]
            self._weigh(attempt, part, trace, others)
        self.keeps += attempt.ending == "kept"

    def _open(self, site: str) -> Trace:
        trace = self.traces.setdefault(site, Trace())
        self.traces.move_to_end(site)
        _bound(self.traces, SITES)
        return trace

    def note_tried(self, attempt: Attempt) -> None:
        """Remember that the edit of `attempt` was tried on its head."""
        if "edit" not in attempt.notes:
            return
        head = self._tried.setdefault(str(attempt.notes["head"]), OrderedDict())
        head[str(attempt.notes["edit"])] = None
        _bound(head, TRIED)
        _bound(self._tried, HEADS)

    def _weigh(self, attempt: Attempt, part: Notes, trace: Trace, others: list[Notes]) -> None:
        old, new = str(part["from"]), str(part["to"])
        if attempt.gain is None:
            gain, variance = float(part["unit"]) * -0.5, (1.5 * float(part["unit"])) ** 2
        else:
            gain, variance = attempt.gain.mean, attempt.gain.noise**2
            if gain == 0.0:  # to the last digit: the program did the very same thing
                variance = (0.1 * float(part["unit"])) ** 2
        gain -= sum(float(other["mean"]) for other in others)
        variance += sum(float(other["variance"]) for other in others)
        if "end" in part:
            seen = Seen(float(part["start"]), float(part["end"]), gain, variance)
            trace.seen.append((self.keeps, seen))
        else:
            trace.chosen.append((self.keeps, Chosen(old, new, gain, variance)))


def _blame(trace: Trace, part: Notes) -> None:
    trace.broke += 1
    trace.failed.append(str(part["to"]))
    if "end" in part:
        trace.broken.append((float(part["start"]), float(part["end"])))


def _parts(notes: Notes) -> Iterator[Notes]:
    """Yield the notes of each part of a move: those of the second are named `site 2` and so on."""
    for count in range(1, 10):
        suffix = "" if count == 1 else f" {count}"
        if f"site{suffix}" not in notes:
            return
        yield {
            name: notes[f"{name}{suffix}"]
            for name in ("site", "from", "to", "mean", "variance", "start", "end")
            if f"{name}{suffix}" in notes
        } | {"unit": notes["unit"]}


def _bound(memory: OrderedDict[str, Any], most: int) -> None:
    while len(memory) > most:
        memory.popitem(last=False)
