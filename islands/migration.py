"""Which kept change goes to which island next, decided from the run's events and nothing else.

A migrant is a change, never a copy: it is applied to the destination's head and judged there like
any other candidate. (Where nothing is left to judge, an island goes to the other's head: see
islands/scheduling/catch_up.py.) A topology says which islands an island hears of. In each interval
a share of
the islands takes one migrant each, those first that have tried longest without a keep. What an
island has met once (made, kept or been offered, in whatever form) it is never offered again, but
for what it left behind by going to another head; and where a migrant went from one island to
another, none goes back in that interval or the next.

Not covered: islands that an earlier launch had and this one leaves alone are waited for like others
until those of this launch have stagnated longer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import singledispatchmethod
from typing import Literal

from islands import events as ev
from islands.ratchet.acceptance import NEAR_MISS
from islands.records import Ending, Migrant
from islands.rng import seed_of

Topology = Literal["none", "ring", "star", "complete", "random"]

REST = 1
"""Intervals, beside the one it happened in, that nothing goes back the way a migrant came."""

NEAR_MISSES = 8
"""Near misses of an island that may still travel, the latest ones."""

WORKED_BEFORE, JUDGED_BEFORE = 3, 4
"""How many migrants have worked, of how many, before this run has had any."""

CONFLICT = "conflict"
"""The rule by which a migrant that does not apply is refused; its change may then be ported."""

PRESENT = "present"
"""The rule by which a migrant is refused that the head holds already."""

WAITED_OUT = frozenset({"rate", "server", "timeout", "network"})
"""Troubles of an agent that are not its answer to a port task: it is asked again."""


@dataclass(frozen=True, slots=True)
class Migration:
    """What the user may set of migration, see program.md's `migration`.

    An interval are `every` candidates of its own for each island; in one interval the share `rate`
    of the islands, at least one, takes a migrant.

    The best head of 8 islands after 400 trials in all, 20 nights a row, true gain and half of its
    95 % interval (`swarm simulate --trials 400 --repeats 20 --migration ... --baselines`):

    | | published | harsh | unreal claims |
    | --- | --- | --- | --- |
    | none | .0181 ± .0025 | .0082 ± .0011 | 1.4 %, 0.0 % |
    | ring | .0533 ± .0065 | .0266 ± .0029 | 2.1 %, 3.0 % |
    | star | .0600 ± .0083 | .0300 ± .0044 | 2.7 %, 1.4 % |
    | complete | .0573 ± .0073 | .0298 ± .0042 | 3.7 %, 3.6 % |
    | random | .0538 ± .0067 | .0266 ± .0029 | 3.2 %, 3.0 % |
    | 8 ratchets apart | .0130 ± .0024 | .0062 ± .0011 | 1.9 %, 0.0 % |
    | one ratchet, one trial at a time | .0685 ± .0096 | .0371 ± .0055 | 2.6 %, 1.1 % |

    One ratchet takes 8 times as long for its 400 trials, of which it keeps one in 20. Eight islands
    find as much at once, so that most of what is kept finds its neighbours elsewhere already, and
    has to be judged again beside what they kept: in a star once, in other topologies more often.
    That takes 15 of a star's 400 trials. The rest of what it lacks it lacks from the beginning: by
    trial 50 one ratchet has kept 1.3 changes, and eight candidates that are confirmed side by side
    0.2; from there on both keep at the same rate.
    """

    topology: Topology = "star"
    every: int = 1
    rate: float = 1.0


NO_MIGRATION = Migration(topology="none")


def sources(topology: Topology, islands: Sequence[str], island: str, draw: int) -> tuple[str, ...]:
    """Return the islands that `island` may be offered changes of, never itself.

    In a star the first hears of all others, which go their own ways; in a ring each hears of the
    one before it, in a complete swarm all of all, in a random one each of another that `draw`
    chooses. Raises ValueError where `island` is none of `islands`.
    """
    at = islands.index(island)
    others = tuple(islands[:at]) + tuple(islands[at + 1 :])
    if topology == "none" or not others or (topology == "star" and at > 0):
        return ()
    if topology in {"complete", "star"}:
        return others
    return (islands[at - 1],) if topology == "ring" else (others[draw % len(others)],)


class Migrants:
    """The fold: what may travel, who has met what, and who took a migrant when.

    `open` has the migrants that are on trial by island, `ports` those that an island's agent is to
    express on its own code, since they conflict there.
    """

    def __init__(self) -> None:
        self.open: dict[str, ev.MigrantOffered] = {}
        self.ports: dict[str, ev.MigrantOffered] = {}
        self._judged, self._worked = JUDGED_BEFORE, WORKED_BEFORE
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

    @property
    def share(self) -> float:
        """Return the share of migrants that are expected to work, by those that were judged."""
        return self._worked / self._judged

    def brings(self, experiment: int) -> bool:
        """Return whether an open experiment is a migrant, not an agent's proposal."""
        return any(offered.experiment == experiment for offered in self.open.values())

    def has_met(self, island: str, origin: int) -> bool:
        """Return whether `island` made or was offered the change that experiment `origin` made."""
        return origin in self._met[island]

    def ahead(self, island: str, asked: Migration) -> tuple[str, ...]:
        """Return the islands whose heads `island` may go to.

        In a star all but the first hear of the first's head, whose changes they are not offered.
        """
        first = next(iter(self._met))
        star = asked.topology == "star" and island != first
        return (first,) if star else self.heard(island, asked)

    def judged(self, origin: int, heads: Collection[str]) -> bool:
        """Return whether a change was brought to one of `heads` and judged worth nothing there."""
        return not self._judged_on.get(origin, set()).isdisjoint(heads)

    def heard(self, island: str, asked: Migration) -> tuple[str, ...]:
        """Return the islands that `island` hears of in this interval."""
        now = self._interval(self._tries, asked)
        draw = seed_of(self._seed, "migration", island, now)
        return sources(asked.topology, list(self._met), island, draw)

    def offer(self, island: str, asked: Migration, heads: Sequence[str] = ()) -> Migrant | None:
        """Return the change that `island` takes now, None where it is to go on by itself.

        `heads` are those that its own is built on, and that one, the last. What was judged on one
        of them is not judged again, on whatever island it was. On one head one is judged at a time:
        of two that are kept at once one has to be judged again, on the other.
        """
        if heads and any(offered.parent == heads[-1] for offered in self.open.values()):
            return None
        took = {name for name in self._took if self._took_lately(name, asked)}
        room = max(1, round(asked.rate * len(self._met))) - len(took)
        if room <= 0 or island in took:
            return None
        found = self._best(island, asked, heads)
        if found is None:
            return None
        rank = self._rank(island)
        ahead = [name for name in self._met if name not in took and self._rank(name) < rank]
        if len(ahead) < room:
            return found
        return found if sum(self._best(name, asked) is not None for name in ahead) < room else None

    def ended(self, experiment: int, ending: Ending, reason: str, change: Migrant | None) -> None:
        """Take in how an experiment ended, and the `change` that it measured, if it did."""
        offered = next((one for one in self.open.values() if one.experiment == experiment), None)
        if offered is not None:
            del self.open[offered.island]
            self._judged += ending != "refused"
            self._worked += ending == "kept"
            if ending == "refused" and reason.startswith(CONFLICT):
                self.ports[offered.island] = offered
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
        """Take in the next event, most of which say nothing of migration."""

    @apply.register
    def _(self, event: ev.RunOpened) -> None:
        self._seed = event.seed

    @apply.register
    def _(self, event: ev.IslandOpened) -> None:
        self._idle[event.island], self._kept[event.island] = 0, []
        self._near[event.island] = deque(maxlen=NEAR_MISSES)
        self._met[event.island], self._held[event.island] = set(), []

    @apply.register
    def _(self, event: ev.CandidateAdmitted) -> None:
        if not self.is_migrant(event.experiment):
            self._tries += 1
            self._idle[event.island] += 1

    @apply.register
    def _(self, event: ev.MigrantOffered) -> None:
        self.open[event.island] = event
        self._met[event.island].add(event.migrant.origin)
        self._took[event.island] = self._tries
        self._went[event.migrant.island, event.island] = self._tries

    @apply.register
    def _(self, event: ev.HeadAdopted) -> None:
        # what is on the source's head may travel on from here, and is known here; what was left
        # behind may be brought again
        island, source = event.island, event.source
        known = {one.experiment for one in self._kept[island]}
        new = [one for one in self._kept[source] if one.experiment not in known]
        self._kept[island] += [replace(one, island=island) for one in new]
        self._met[island] -= {*self._held[island]}
        self._held[island] = [*self._held[source]]
        self._met[island] |= {*self._held[island]}
        self._idle[island] = min(self._idle[island], self._idle[source])

    @apply.register(ev.ProposalReceived)
    @apply.register(ev.AgentFailed)
    def _(self, event: ev.ProposalReceived | ev.AgentFailed) -> None:
        answered = not isinstance(event, ev.AgentFailed) or event.error_kind not in WAITED_OUT
        if event.origin and answered:
            self.ports.pop(event.island, None)

    @apply.register
    def _(self, event: ev.CommitQuarantined) -> None:
        for island, kept in self._kept.items():
            self._kept[island] = [one for one in kept if one.commit not in event.commits]
        for near in self._near.values():
            for one in [one for one in near if one.commit in event.commits]:
                near.remove(one)
        for island, offered in [*self.ports.items()]:
            if offered.migrant.commit in event.commits:
                del self.ports[island]

    def _interval(self, tries: int, asked: Migration) -> int:
        return tries // (asked.every * max(1, len(self._met)))

    def _took_lately(self, island: str, asked: Migration) -> bool:
        now = self._interval(self._tries, asked)
        return self._interval(self._took[island], asked) == now

    def _rank(self, island: str) -> tuple[int, int]:
        """Return what orders islands: those that have stagnated longest come first."""
        return -self._idle[island], list(self._met).index(island)

    def _best(self, island: str, asked: Migration, heads: Sequence[str] = ()) -> Migrant | None:
        """Return what is best worth offering: keeps before near misses, then the largest gain."""
        heard = [one for one in self.heard(island, asked) if not self._rests(one, island, asked)]
        for known in (self._kept, self._near):
            new = [
                change
                for one in heard
                for change in known[one]
                if change.origin not in self._met[island] and not self.judged(change.origin, heads)
            ]
            if new:
                return max(new, key=lambda change: (change.gain.mean, -change.experiment))
        return None

    def _rests(self, source: str, island: str, asked: Migration) -> bool:
        """Return whether a migrant went the other way too short a while ago."""
        back = self._went.get((island, source))
        if back is None:
            return False
        now = self._interval(self._tries, asked)
        return now - self._interval(back, asked) <= REST
