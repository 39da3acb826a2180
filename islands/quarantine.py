"""What an invalid commit takes with it, and where each island goes on.

A commit may be found invalid after it was kept: when it is confirmed, audited at more positions,
promoted. Then nothing that came from it can be trusted either, on whatever island: what is in
quarantine is no parent, no example, no migrant, and has no place in a stack. Islands whose head
is in quarantine fall back to the last head before it that is not.

Pure: nothing here moves a branch. Commits and their refs stay; a quarantine is a matter of record.

Not covered: a change that an agent wrote anew after it had been shown the invalid one came from
it in substance and not on record; it stands or falls by its own trials.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import chain, pairwise, takewhile

REASON = "a trial of this change, or of one that it is built on, was invalid"
"""All that agents and people are told, whatever the trial was: more would tell how to do better."""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """The commits that are set apart, and the islands that have to fall back.

    `heads` maps each island whose head is among `commits` to the last of its heads that is not,
    None where there is none: that island cannot go on.
    """

    commits: frozenset[str]
    heads: Mapping[str, str | None]


def quarantine(
    origins: Mapping[str, Iterable[str]], chains: Mapping[str, Sequence[str]], invalid: str
) -> Quarantine:
    """Return what follows from `invalid`, a commit, having been found invalid.

    `origins` maps a commit to all that it came from: the commit that it was made on, and those
    whose change was carried into it (a migrant's source, the other parent of a crossing, the
    parts of a stack). `chains` maps an island to its heads, oldest first, from the base to the
    present one, each made on the one before: so that much of `origins` may be left out. Heads that
    an island has fallen back from already stand in no chain.

    Several invalid commits are quarantined one after the other, in any order.
    """
    apart = _descendants(_offspring(origins, chains.values()), invalid)
    heads = {name: _last_sound(heads, apart) for name, heads in chains.items() if apart & {*heads}}
    return Quarantine(apart, heads)


def _offspring(
    origins: Mapping[str, Iterable[str]], chains: Iterable[Sequence[str]]
) -> Mapping[str, list[str]]:
    """Return what came from each commit, at one remove."""
    offspring = defaultdict[str, list[str]](list)
    carried = ((source, commit) for commit, sources in origins.items() for source in sources)
    for source, commit in chain(carried, *map(pairwise, chains)):
        offspring[source].append(commit)
    return offspring


def _descendants(offspring: Mapping[str, list[str]], commit: str) -> frozenset[str]:
    """Return `commit` and everything that came from it."""
    found, waiting = {commit}, [commit]
    while waiting:
        new = {*offspring.get(waiting.pop(), ())} - found
        found |= new
        waiting += new
    return frozenset(found)


def _last_sound(heads: Sequence[str], apart: Set[str]) -> str | None:
    return next(reversed([*takewhile(lambda head: head not in apart, heads)]), None)
