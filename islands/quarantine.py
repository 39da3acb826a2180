"""What an invalid commit takes with it, and where each island goes on.

A commit may be found invalid after it was kept: when it is confirmed, audited at more positions,
promoted. Then nothing that came from it can be trusted either, on whatever island: what is in
quarantine is no parent, no example, no migrant, and has no place in a stack. Islands whose head
is in quarantine fall back to the last head before it that is not.

Nothing here moves a branch. Commits and their refs stay; a quarantine is a matter of record.
`quarantine` says what follows from one commit; `Quarantines` is the fold that says when: whenever
a trial of a head, present or past, of a stack or of the consensus is invalid, whatever the trial
was for. (A candidate that was never kept has nothing that came from it: it fails, and that is all.)

An event that makes a commit from others has to be named in `Quarantines`, or what came of it stays.

Not covered: a change that an agent wrote anew after it had been shown the invalid one came from
it in substance and not on record; it stands or falls by its own trials. What was learnt of the
spread between seeds, and of gains that were screened against an invalid head, is not unlearnt. A
merge that came home before is the user's to take back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import singledispatchmethod
from itertools import chain, pairwise, takewhile

from islands import events as ev

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


class Quarantines:
    """The fold: what is set apart, and what was found invalid and has yet to be.

    `commits` are set apart, those that were made too late to be in any event among them, and
    `experiments` are the numbers of those that were proposals. It keeps two ids of each candidate.
    """

    def __init__(self) -> None:
        self.commits: set[str] = set()
        self.experiments: set[int] = set()
        self._due: dict[str, str] = {}
        self._origins: dict[str, tuple[str, ...]] = {}
        self._chains: dict[str, list[str]] = {}
        self._built_on: set[str] = set()
        self._donors: dict[int, tuple[str, ...]] = {}
        self._candidates: dict[int, str] = {}

    def tainted(self, experiment: int) -> bool:
        """Return whether a candidate took a change from what is set apart."""
        return not self.commits.isdisjoint(self._origins[self._candidates[experiment]][1:])

    def finding(self) -> ev.CommitQuarantined | None:
        """Return what has to be recorded next, None where nothing is due."""
        commit = next(iter(self._due), None)
        if commit is None:
            return None
        apart = quarantine(self._origins, self._chains, commit)
        known = {commit: None, **self._origins}  # in the order in which they were made
        return ev.CommitQuarantined(
            trial=self._due[commit],
            commit=commit,
            commits=tuple(each for each in known if each in apart.commits),
            heads=tuple(
                ev.Fallback(name, self._chains[name][-1], new or "")
                for name, new in apart.heads.items()
            ),
            reason=REASON,
        )

    @singledispatchmethod
    def apply(self, event: ev.Event) -> None:
        """Take in the next event. Raises ValueError where it cannot have happened."""

    @apply.register
    def _(self, event: ev.IslandOpened) -> None:
        self._chains[event.island] = [event.head]
        self._built_on.add(event.head)

    @apply.register
    def _(self, event: ev.ProposalReceived) -> None:
        donors = [self._candidates.get(number) for number in (event.donor, event.origin)]
        self._donors[event.experiment] = tuple(donor for donor in donors if donor is not None)

    @apply.register
    def _(self, event: ev.MigrantOffered) -> None:
        self._donors[event.experiment] = (event.migrant.commit,)

    @apply.register
    def _(self, event: ev.ProposalRefused) -> None:
        self._donors.pop(event.experiment, None)

    @apply.register
    def _(self, event: ev.CandidateAdmitted) -> None:
        self._candidates[event.experiment] = event.commit
        self._derive(event.commit, (event.parent, *self._donors.pop(event.experiment, ())))

    @apply.register
    def _(self, event: ev.CandidateRebased) -> None:
        """On another head it is built on what that is, and on what it took from others."""
        donors = self._origins[self._candidates[event.experiment]][1:]
        self._candidates[event.experiment] = event.commit
        self.experiments.discard(event.experiment)
        self._derive(event.commit, (event.parent, *donors))

    @apply.register
    def _(self, event: ev.VerdictReached) -> None:
        if event.verdict == "discard" or event.null:
            return
        if event.commit in self.commits:
            raise ValueError(f"{event.commit} is set apart and cannot be kept")
        self._chains[event.island].append(event.commit)
        self._built_on.add(event.commit)

    @apply.register
    def _(self, event: ev.HeadAdopted) -> None:
        if event.new in self.commits:
            raise ValueError(f"{event.new} is set apart: no island can go there")
        self._chains[event.island] = [*self._chains[event.source]]

    @apply.register
    def _(self, event: ev.StackCheckAssembled) -> None:
        if event.commit and event.commit not in self._origins:
            parts = [self._candidates[part] for part in event.parts if part in self._candidates]
            self._derive(event.commit, (event.base, *parts))
            self._built_on.add(event.commit)

    @apply.register
    def _(self, event: ev.ConsensusMoved) -> None:
        parts = [self._candidates[part] for part in event.parts if part in self._candidates]
        for commit in event.changes:
            if commit not in self._origins:
                self._derive(commit, (event.base, *parts))
        self._built_on.add(event.commit)

    @apply.register
    def _(self, event: ev.TrialEnded) -> None:
        commit, failure = event.started.commit, event.outcome.failure
        if failure is None or failure.kind != "invalid" or commit in self.commits:
            return
        if commit in self._built_on:
            self._due.setdefault(commit, event.started.trial)

    @apply.register
    def _(self, event: ev.CommitQuarantined) -> None:
        found = self.finding()
        if found is None or replace(found, recorded=event.recorded) != event:
            raise ValueError(f"this is not what follows from an invalid trial of {event.commit}")
        self._set_apart({*event.commits})
        for commit in self.commits & {*self._due}:
            del self._due[commit]
        for each in event.heads:
            heads = self._chains[each.island]
            self._chains[each.island] = [head for head in heads if head not in self.commits]

    def _derive(self, commit: str, origins: tuple[str, ...]) -> None:
        self._origins[commit] = origins
        if not self.commits.isdisjoint(origins):
            self._set_apart({commit})

    def _set_apart(self, commits: Set[str]) -> None:
        self.commits |= commits
        self.experiments |= {n for n, commit in self._candidates.items() if commit in commits}
