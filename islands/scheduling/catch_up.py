"""Catching up: an island adopts another island's head without a trial.

An island catches up with one whose head has the larger sum of kept gains, once all that either of
the two kept was judged on the other's head. If its head is one that the other had, every change
that it gets was measured against that same head. If both kept something since, they have diverged:
one of them takes the other's changes as migrants, and after these verdicts the one behind can
follow, whichever it is: a kept change is in the head, and a discarded one gains nothing there. A
change that conflicts, and that no agent could port, counts as discarded: the two heads are
alternatives. (In a run of `gpt` an island screened 40 candidates on a head that gained 0.072, while
another had one that gained 0.104 by changing the same line.)

So islands share one head like one ratchet with many slices, and diverge only by changes kept at the
same time. In a star the first island collects all changes, one judgement each, and the others
adopt its head once theirs are judged. This pays where changes interact: the best head of 8 islands
after 400 trials gained .0018 ± .0014 more (published, .0508 without) and .0034 ± .0026 more (harsh,
.0233 without) with strong interactions, 20 pairs of runs, 95 % intervals; without interactions
.0002 ± .0015 and -.0003 ± .0014. (Migrants were screened like proposals in these runs.)

An island that a person restarted goes its own way until it has kept something there.

It takes no trial, so no interval and no share of islands limits it. It makes no claim: a change is
claimed, and counted, once, by the experiment that kept it. Standings are totally ordered and an
island only moves to a higher one, so that no two islands chase each other.

Not covered: heads are compared by the sums of their claimed gains, which are not measured against
each other here (the stack check does that); of several changes that an island gives up for another
head, some may gain there.
"""

from __future__ import annotations

import math

from islands import events as ev
from islands.migration import Migration
from islands.state.population import IslandState
from islands.state.run_state import State


def catch_up(state: State, name: str, migration: Migration) -> ev.HeadAdopted | None:
    """Return the adoption of the best head that island `name` may adopt, None if it should stay."""
    island = state.islands[name]
    if island.restarted:
        return None
    others = [state.islands[other] for other in state.migrants.catch_up_sources(name, migration)]
    ahead = [
        other
        for other in others
        if other.head != island.head
        and _leads(state, other, island)
        and _compared(state, other, island)
    ]
    if not ahead:
        return None
    source = max(ahead, key=_standing)
    own = {change.experiment for change in island.kept}
    new = tuple(change.experiment for change in source.kept if change.experiment not in own)
    return ev.HeadAdopted(name, source.opened.island, island.head, source.head, new)


def _leads(state: State, other: IslandState, island: IslandState) -> bool:
    """Return whether `other` is ahead by sound changes measured on the device class of `island`."""
    alike = other.opened.head == island.opened.head and all(
        change.device == island.slice.device for change in other.kept
    )
    sound = other.head not in state.quarantines.commits
    return alike and sound and _standing(other) > _standing(island)


def _compared(state: State, other: IslandState, island: IslandState) -> bool:
    """Return whether all that one of the two kept was judged on the other's head.

    A head that `island` is built on may be ahead, where a change since was kept for being shorter.
    """
    more = not other.held <= island.held
    return _judged(state, other, island) or (more and _judged(state, island, other))


def _judged(state: State, other: IslandState, island: IslandState) -> bool:
    """Return whether all that `island` kept was judged on a head of `other`."""
    held, heads, migrants = other.held, other.heads, state.migrants
    to_come = {one.origin for one in (other.experiment, *other.queue) if one is not None}
    return all(
        change.origin in held
        or migrants.judged_on(change.origin, heads)
        or (
            change.origin not in to_come
            and migrants.conflicts_on(change.origin, other.opened.island, heads)
        )
        for change in island.kept
    )


def _standing(island: IslandState) -> tuple[float, int, str]:
    """Return the sort key of heads: equal for equal heads, larger for one built on another."""
    gain = math.fsum(change.gain.mean for change in island.kept)
    return gain, len(island.kept), island.head
