"""Migration: which kept change is offered to which island next. Pure.

A migrant is a change, not a copy: it is applied to the destination's head and judged there like any
other candidate. (Where nothing is left to judge, an island adopts the other's head: see
islands/scheduling/catch_up.py.) A topology says which islands an island hears of. In each interval
a share of the islands takes one migrant each, those first that have gone longest without a keep.
An island is never offered what it has met once (made, kept or been offered, in any form), except
what it gave up by adopting another head. Where a migrant went from one island to another, none goes
back in that interval or the next.

Not covered: islands of an earlier launch that this one does not run are waited for like others
until those of this launch have stagnated longer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import singledispatchmethod
from typing import Literal

from islands import events as ev
from islands.events import steering as se
from islands.ratchet.acceptance import NEAR_MISS
from islands.records import Ending, Migrant
from islands.rng import seed_of

Topology = Literal["none", "ring", "star", "complete", "random"]

REST_INTERVALS = 1
"""Intervals after a migrant in which none goes the opposite way, besides its own interval."""

MAX_NEAR_MISSES = 8
"""Latest near misses of an island that may still migrate."""

PRIOR_WORKED, PRIOR_JUDGED = 3, 4
"""Prior counts: migrants that worked, of so many judged, before this run has had any."""

CONFLICT = "conflict"
"""Rule that refuses a migrant that does not apply; its change may then be ported."""

PRESENT = "present"
"""Rule that refuses a migrant that the head holds already."""

RETRIED_ERRORS = frozenset({"rate", "server", "timeout", "network", "unavailable"})
"""Error kinds after which an agent is asked again to port a change."""


@dataclass(frozen=True, slots=True)
class Migration:
    """What the user may set of migration: program.md's `migration`.

    - `topology`: which islands an island hears of
    - `every`: own candidates, per island, that make one interval
    - `rate`: share of the islands, at least one, that take a migrant in an interval

    True gain of the best head of 8 islands after 400 trials in all, and half of its 95 % interval,
    20 runs a row (`swarm simulate nights --trials 400 --repeats 20 --migration ... --baselines`):

    | | published | harsh | false claims |
    | --- | --- | --- | --- |
    | none | .0181 ± .0025 | .0082 ± .0011 | 1.4 %, 0.0 % |
    | ring | .0533 ± .0065 | .0266 ± .0029 | 2.1 %, 3.0 % |
    | star | .0600 ± .0083 | .0300 ± .0044 | 2.7 %, 1.4 % |
    | complete | .0573 ± .0073 | .0298 ± .0042 | 3.7 %, 3.6 % |
    | random | .0538 ± .0067 | .0266 ± .0029 | 3.2 %, 3.0 % |
    | 8 independent islands | .0130 ± .0024 | .0062 ± .0011 | 1.9 %, 0.0 % |
    | one island, one trial at a time | .0685 ± .0096 | .0371 ± .0055 | 2.6 %, 1.1 % |

    One island takes 8 times as long for its 400 trials, of which it keeps one in 20. Eight islands
    find as much at the same time, so that most keeps have to be judged again beside what others
    kept: once in a star, more often in other topologies. That takes 15 of a star's 400 trials. The
    rest of the difference arises at the start: by trial 50 one island has kept 1.3 changes, eight
    islands that confirm candidates side by side 0.2; from there on both keep at the same rate.
    """

    topology: Topology = "star"
    every: int = 1
    rate: float = 1.0


NO_MIGRATION = Migration(topology="none")


def sources(topology: Topology, islands: Sequence[str], island: str, draw: int) -> tuple[str, ...]:
    """Return the islands whose changes `island` may be offered, never itself.

    In a star the first hears of all others, and they of none; in a ring each hears of the one
    before it; in a complete topology all of all; in a random one each of another that `draw`
    chooses. Raises ValueError where `island` is not in `islands`.
    """
    at = islands.index(island)
    others = tuple(islands[:at]) + tuple(islands[at + 1 :])
    if topology == "none" or not others or (topology == "star" and at > 0):
        return ()
    if topology in {"complete", "star"}:
        return others
    return (islands[at - 1],) if topology == "ring" else (others[draw % len(others)],)


class Migrants:
    """The fold of events into what may migrate, what each island has met, and who took when.

    - `on_trial`: migrants that are being judged, by island
    - `ports`: migrants that conflict on an island, whose agent is to express them on its own code
    """

    def __init__(self) -> None:
        self.on_trial: dict[str, ev.MigrantOffered] = {}
        self.ports: dict[str, ev.MigrantOffered] = {}
        self._judged, self._worked = PRIOR_JUDGED, PRIOR_WORKED
        self._seed = 0
        self._tries = 0
        self._idle: dict[str, int] = {}
        self._kept: dict[str, list[Migrant]] = {}
        self._near: dict[str, deque[Migrant]] = {}
        self._met: dict[str, set[int]] = {}
        self._held: dict[str, list[int]] = {}
        self._took: dict[str, int] = {}
        self._went: dict[tuple[str, str], int] = {}
        self._judged_on: dict[int, set[str]] = {}
        self._conflicting: dict[int, set[str]] = {}

    @property
    def share(self) -> float:
        """Return the expected share of migrants that work, from those judged so far."""
        return self._worked / self._judged

    def is_migrant(self, experiment: int) -> bool:
        """Return whether an open experiment is a migrant rather than an agent's proposal."""
        return any(offered.experiment == experiment for offered in self.on_trial.values())

    def has_met(self, island: str, origin: int) -> bool:
        """Return whether `island` made or was offered the change that experiment `origin` made."""
        return origin in self._met[island]

    def catch_up_sources(self, island: str, policy: Migration) -> tuple[str, ...]:
        """Return the islands whose heads `island` may adopt.

        In a star all but the first may adopt the first's head, though not offered its changes.
        """
        first = next(iter(self._met))
        star = policy.topology == "star" and island != first
        return (first,) if star else self.sources_of(island, policy)

    def judged_on(self, origin: int, heads: Collection[str]) -> bool:
        """Return whether a change was judged worth nothing on one of `heads`."""
        return not self._judged_on.get(origin, set()).isdisjoint(heads)

    def conflicts_on(self, origin: int, island: str, heads: Collection[str]) -> bool:
        """Return whether a change does not apply on one of an island's `heads`, nor is ported."""
        port = self.ports.get(island)
        asked = port is not None and port.migrant.origin == origin
        return not asked and not self._conflicting.get(origin, set()).isdisjoint(heads)

    def sources_of(self, island: str, policy: Migration) -> tuple[str, ...]:
        """Return the islands that `island` hears of in this interval."""
        now = self._interval(self._tries, policy)
        draw = seed_of(self._seed, "migration", island, now)
        return sources(policy.topology, list(self._met), island, draw)

    def next_migrant(
        self, island: str, policy: Migration, heads: Sequence[str] = ()
    ) -> Migrant | None:
        """Return the change that `island` takes now, None where it takes none.

        `heads` is the island's chain of heads, the present one last. What any island judged on one
        of them is not judged again. One migrant is judged on a head at a time: of two that are kept
        at once, one would have to be judged again on top of the other.
        """
        if heads and any(offered.parent == heads[-1] for offered in self.on_trial.values()):
            return None
        took = {name for name in self._took if self._took_lately(name, policy)}
        room = max(1, round(policy.rate * len(self._met))) - len(took)
        if room <= 0 or island in took:
            return None
        best = self._best(island, policy, heads)
        if best is None:
            return None
        rank = self._rank(island)
        ahead = [name for name in self._met if name not in took and self._rank(name) < rank]
        if len(ahead) < room:
            return best
        takers = sum(self._best(name, policy) is not None for name in ahead)
        return best if takers < room else None

    def experiment_ended(
        self, experiment: int, ending: Ending, reason: str, change: Migrant | None
    ) -> None:
        """Apply the end of an experiment, and the `change` that it measured (None: it failed)."""
        offered = next(
            (one for one in self.on_trial.values() if one.experiment == experiment), None
        )
        if offered is not None:
            del self.on_trial[offered.island]
            self._judged += ending != "refused"
            self._worked += ending == "kept"
            if ending == "refused" and reason.startswith(CONFLICT):
                self.ports[offered.island] = offered
                self._conflicting.setdefault(offered.migrant.origin, set()).add(offered.parent)
        if change is None:
            return
        if change.origin != experiment and ending != "kept":
            self._judged_on.setdefault(change.origin, set()).add(change.parent)
        if ending == "kept":
            self._idle[change.island] = 0
            self._kept[change.island].append(change)
            self._met[change.island].add(change.origin)
            self._held[change.island].append(change.origin)
        elif reason.startswith(NEAR_MISS) and change.gain.mean > 0:
            self._near[change.island].append(change)
            self._met[change.island].add(change.origin)

    @singledispatchmethod
    def apply(self, event: ev.Event) -> None:
        """Apply the next event; most do not concern migration."""

    @apply.register
    def _run_opened(self, event: ev.RunOpened) -> None:
        self._seed = event.seed

    @apply.register
    def _island_opened(self, event: ev.IslandOpened) -> None:
        self._idle[event.island], self._kept[event.island] = 0, []
        self._near[event.island] = deque(maxlen=MAX_NEAR_MISSES)
        self._met[event.island], self._held[event.island] = set(), []

    @apply.register
    def _candidate_admitted(self, event: ev.CandidateAdmitted) -> None:
        if not self.is_migrant(event.experiment):
            self._tries += 1
            self._idle[event.island] += 1

    @apply.register
    def _migrant_offered(self, event: ev.MigrantOffered) -> None:
        self.on_trial[event.island] = event
        self._met[event.island].add(event.migrant.origin)
        self._took[event.island] = self._tries
        self._went[event.migrant.island, event.island] = self._tries

    @apply.register
    def _head_adopted(self, event: ev.HeadAdopted) -> None:
        # what is on the source's head may migrate on from here, and counts as met; what the island
        # gave up may be offered to it again
        island, source = event.island, event.source
        own = {one.experiment for one in self._kept[island]}
        new = [one for one in self._kept[source] if one.experiment not in own]
        self._kept[island] += [replace(one, island=island) for one in new]
        self._met[island] -= {*self._held[island]}
        self._held[island] = [*self._held[source]]
        self._met[island] |= {*self._held[island]}
        if island in self.ports and self.ports[island].migrant.origin in self._held[island]:
            del self.ports[island]
        self._idle[island] = min(self._idle[island], self._idle[source])

    @apply.register
    def _island_restarted(self, event: se.IslandRestarted) -> None:
        # what the island gave up counts as met: a person did not want it there
        island, own = event.island, {one.experiment for one in self._kept[event.island]}
        new = {
            one.experiment: replace(one, island=island)
            for kept in self._kept.values()
            for one in kept
            if one.experiment in event.changes and one.experiment not in own
        }
        self._kept[island] += new.values()
        self._held[island] = [*event.origins]
        self._met[island] |= {*event.origins}

    @apply.register(ev.ProposalReceived)
    @apply.register(ev.AgentFailed)
    def _port_answered(self, event: ev.ProposalReceived | ev.AgentFailed) -> None:
        answered = not isinstance(event, ev.AgentFailed) or event.error_kind not in RETRIED_ERRORS
        if event.origin and answered:
            self.ports.pop(event.island, None)

    @apply.register
    def _commit_quarantined(self, event: ev.CommitQuarantined) -> None:
        for island, kept in self._kept.items():
            self._kept[island] = [one for one in kept if one.commit not in event.commits]
        for near in self._near.values():
            for one in [one for one in near if one.commit in event.commits]:
                near.remove(one)
        for island, offered in [*self.ports.items()]:
            if offered.migrant.commit in event.commits:
                del self.ports[island]

    def _interval(self, tries: int, policy: Migration) -> int:
        return tries // (policy.every * max(1, len(self._met)))

    def _took_lately(self, island: str, policy: Migration) -> bool:
        now = self._interval(self._tries, policy)
        return self._interval(self._took[island], policy) == now

    def _rank(self, island: str) -> tuple[int, int]:
        """Return the sort key of an island: those that have stagnated longest come first."""
        return -self._idle[island], list(self._met).index(island)

    def _best(self, island: str, policy: Migration, heads: Sequence[str] = ()) -> Migrant | None:
        """Return the best change to offer: keeps before near misses, then the largest gain."""
        islands = [
            source
            for source in self.sources_of(island, policy)
            if not self._rests(source, island, policy)
        ]
        for changes in (self._kept, self._near):
            new = [
                change
                for source in islands
                for change in changes[source]
                if change.origin not in self._met[island]
                and not self.judged_on(change.origin, heads)
            ]
            if new:
                return max(new, key=lambda change: (change.gain.mean, -change.experiment))
        return None

    def _rests(self, source: str, island: str, policy: Migration) -> bool:
        """Return whether a migrant went the opposite way in this interval or the last."""
        back = self._went.get((island, source))
        if back is None:
            return False
        now = self._interval(self._tries, policy)
        return now - self._interval(back, policy) <= REST_INTERVALS
