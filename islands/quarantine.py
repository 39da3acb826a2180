"""Quarantine: descendants of an invalid commit, and each island's fallback head.

A commit may be found invalid after it was kept: when it is confirmed, audited at more positions, or
promoted. Then nothing derived from it can be trusted, on any island: a quarantined commit is no
parent, no example, no migrant, and no part of a stack. Islands whose head is quarantined fall back
to the last head before it that is not.

Nothing here moves a branch. Commits and their refs stay; a quarantine is a matter of record.
`quarantine` says what follows from one commit; `Quarantines` is the fold that says when: whenever a
trial of a head, present or past, of a stack or of the consensus is invalid, whatever the trial was
for, whenever a candidate's gain is not there on fresh data, and whenever a person drops a kept
change. (Any other candidate that was never kept has no descendants: it just fails.)

An event that derives a commit from others must have a handler in `Quarantines`, or its commits are
never quarantined.

Not covered:

- A change that an agent wrote after it had been shown the invalid one derives from it in substance
  but not on record; it is judged by its own trials.
- What was learned of the spread between seeds, and of gains screened against an invalid head, is
  not unlearned.
- A merge made before is the user's to revert.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import singledispatchmethod
from itertools import chain, pairwise, takewhile

from islands import events as ev
from islands.events import steering as se

REASON = "a trial of this change, or of one that it is built on, was invalid"
"""The only reason given, whatever the trial was: more would teach how to cheat better."""

DROPPED = "a person dropped this change, or one that it is built on"
"""The reason given where a person asked for the quarantine."""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """What follows from one invalid commit.

    - `commits`: the commit and all its descendants
    - `heads`: maps each island whose head is among `commits` to the last of its heads that is not,
      None if it has no such head: that island cannot continue
    """

    commits: frozenset[str]
    heads: Mapping[str, str | None]


def quarantine(
    origins: Mapping[str, Iterable[str]], chains: Mapping[str, Sequence[str]], invalid: str
) -> Quarantine:
    """Return what follows from the commit `invalid` having been found invalid.

    `origins` maps a commit to all that it derives from: the commit that it was made on, and those
    whose change was carried into it (a migrant's source, the other parent of a crossover, the
    parts of a stack). `chains` maps an island to its heads, oldest first, from the base to the
    present one, each made on the one before: those links need not stand in `origins`. Heads that
    an island has fallen back from stand in no chain.

    Several invalid commits are quarantined one after the other, in any order.
    """
    commits = _descendants(_offspring(origins, chains.values()), invalid)
    heads = {
        name: _last_sound(heads, commits) for name, heads in chains.items() if commits & {*heads}
    }
    return Quarantine(commits, heads)


def _offspring(
    origins: Mapping[str, Iterable[str]], chains: Iterable[Sequence[str]]
) -> Mapping[str, list[str]]:
    """Return the direct descendants of each commit."""
    offspring = defaultdict[str, list[str]](list)
    carried = ((source, commit) for commit, sources in origins.items() for source in sources)
    for source, commit in chain(carried, *map(pairwise, chains)):
        offspring[source].append(commit)
    return offspring


def _descendants(offspring: Mapping[str, list[str]], commit: str) -> frozenset[str]:
    """Return `commit` and all its descendants."""
    descendants, waiting = {commit}, [commit]
    while waiting:
        new = {*offspring.get(waiting.pop(), ())} - descendants
        descendants |= new
        waiting += new
    return frozenset(descendants)


def _last_sound(heads: Sequence[str], quarantined: Set[str]) -> str | None:
    return next(reversed([*takewhile(lambda head: head not in quarantined, heads)]), None)


class Quarantines:
    """The fold of events into what is quarantined, and what has yet to be.

    Keeps two ids of each candidate.

    - `commits`: quarantined commits, also those made too late to stand in any event
    - `experiments`: numbers of those that were proposals
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
        self._dropped: set[str] = set()

    @property
    def has_heads(self) -> bool:
        """Whether something that was kept is quarantined."""
        return not self._built_on.isdisjoint(self.commits)

    def reason(self, *commits: str) -> str:
        """Return why `commits`, of which at least one is quarantined, are."""
        return REASON if self._dropped.isdisjoint(commits) else DROPPED

    def took_from_quarantined(self, experiment: int) -> bool:
        """Return whether a candidate took a change from a quarantined commit."""
        return not self.commits.isdisjoint(self._origins[self._candidates[experiment]][1:])

    def next_event(self) -> ev.CommitQuarantined | None:
        """Return the quarantine to record next, None where none is due."""
        commit = next(iter(self._due), None)
        if commit is None:
            return None
        result = quarantine(self._origins, self._chains, commit)
        all_commits = {commit: None, **self._origins}  # in the order in which they were made
        return ev.CommitQuarantined(
            trial=self._due[commit],
            commit=commit,
            commits=tuple(one for one in all_commits if one in result.commits),
            heads=tuple(
                ev.Fallback(name, self._chains[name][-1], new or "")
                for name, new in result.heads.items()
            ),
            reason=REASON if self._due[commit] else DROPPED,
        )

    @singledispatchmethod
    def apply(self, event: ev.Event) -> None:
        """Apply the next event. Raises ValueError where it cannot have happened."""

    @apply.register
    def _island_opened(self, event: ev.IslandOpened) -> None:
        self._chains[event.island] = [event.head]
        self._built_on.add(event.head)

    @apply.register
    def _proposal_received(self, event: ev.ProposalReceived) -> None:
        donors = [self._candidates.get(number) for number in (event.donor, event.origin)]
        self._donors[event.experiment] = tuple(donor for donor in donors if donor is not None)

    @apply.register
    def _migrant_offered(self, event: ev.MigrantOffered) -> None:
        self._donors[event.experiment] = (event.migrant.commit,)

    @apply.register
    def _proposal_refused(self, event: ev.ProposalRefused) -> None:
        self._donors.pop(event.experiment, None)

    @apply.register
    def _candidate_admitted(self, event: ev.CandidateAdmitted) -> None:
        self._candidates[event.experiment] = event.commit
        self._derive(event.commit, (event.parent, *self._donors.pop(event.experiment, ())))

    @apply.register
    def _candidate_rebased(self, event: ev.CandidateRebased) -> None:
        """Derive the rebased commit from its new parent, and from what it took from others."""
        donors = self._origins[self._candidates[event.experiment]][1:]
        self._candidates[event.experiment] = event.commit
        self.experiments.discard(event.experiment)
        self._derive(event.commit, (event.parent, *donors))

    @apply.register
    def _verdict_reached(self, event: ev.VerdictReached) -> None:
        if event.verdict == "discard" or event.null:
            return
        if event.commit in self.commits:
            raise ValueError(f"{event.commit} is quarantined and cannot be kept")
        self._chains[event.island].append(event.commit)
        self._built_on.add(event.commit)

    @apply.register
    def _head_adopted(self, event: ev.HeadAdopted) -> None:
        if event.new in self.commits:
            raise ValueError(f"{event.new} is quarantined: no island can adopt it")
        self._chains[event.island] = [*self._chains[event.source]]

    @apply.register
    def _stack_check_assembled(self, event: ev.StackCheckAssembled) -> None:
        if event.commit and event.commit not in self._origins:
            parts = [self._candidates[part] for part in event.parts if part in self._candidates]
            self._derive(event.commit, (event.base, *parts))
            self._built_on.add(event.commit)

    @apply.register
    def _consensus_moved(self, event: ev.ConsensusMoved) -> None:
        parts = [self._candidates[part] for part in event.parts if part in self._candidates]
        for commit in event.changes:
            if commit not in self._origins:
                self._derive(commit, (event.base, *parts))
        self._built_on.add(event.commit)

    @apply.register
    def _trial_ended(self, event: ev.TrialEnded) -> None:
        commit, failure = event.started.commit, event.outcome.failure
        if failure is None or failure.kind != "invalid" or commit in self.commits:
            return
        if commit in self._built_on:
            self._due.setdefault(commit, event.started.trial)

    @apply.register
    def _change_dropped(self, event: se.ChangeDropped) -> None:
        if event.commit in self.commits or event.commit not in self._built_on:
            raise ValueError(f"{event.commit} is not kept and cannot be dropped")
        self._due.setdefault(event.commit, "")

    @apply.register
    def _island_restarted(self, event: se.IslandRestarted) -> None:
        if not self.commits.isdisjoint(event.heads):
            raise ValueError(f"{event.new} is quarantined: no island can restart from it")
        self._chains[event.island] = [*event.heads]

    @apply.register
    def _fresh_checked(self, event: ev.FreshChecked) -> None:
        if not event.ok and event.commit not in self.commits:
            self._due.setdefault(event.commit, event.trial)

    @apply.register
    def _commit_quarantined(self, event: ev.CommitQuarantined) -> None:
        expected = self.next_event()
        if expected is None or replace(expected, recorded=event.recorded) != event:
            raise ValueError(f"this is not what follows for {event.commit}")
        self._quarantine({*event.commits})
        if not event.trial:
            self._dropped |= {*event.commits}
        for commit in self.commits & {*self._due}:
            del self._due[commit]
        for fallback in event.heads:
            heads = self._chains[fallback.island]
            self._chains[fallback.island] = [head for head in heads if head not in self.commits]

    def _derive(self, commit: str, origins: tuple[str, ...]) -> None:
        self._origins[commit] = origins
        if not self.commits.isdisjoint(origins):
            self._quarantine({commit})
        if not self._dropped.isdisjoint(origins):
            self._dropped.add(commit)

    def _quarantine(self, commits: Set[str]) -> None:
        self.commits |= commits
        self.experiments |= {n for n, commit in self._candidates.items() if commit in commits}
