"""Events that move heads: keeps, adoptions, restarts and quarantines."""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch

from islands import events as ev
from islands.events import steering as se
from islands.records import Attempt, Ending, Gain
from islands.state.population import Experiment, IslandState, KeptChange
from islands.state.run_facts import RunFacts


@singledispatch
def fold(event: ev.Event, facts: RunFacts) -> None:
    """Take in an event that moves heads; other events change nothing here."""


@fold.register
def _head_adopted(event: ev.HeadAdopted, facts: RunFacts) -> None:
    island, source = facts.islands[event.island], facts.islands[event.source]
    if (island.head, source.head) != (event.old, event.new) or island.experiment is not None:
        raise ValueError(f"{event.island} cannot go from {event.old} to {event.new} now")
    before, island.kept, island.head = island.kept, [*source.kept], event.new
    facts.ask_again()
    _note_adoption(
        island,
        before,
        "kept, then dropped: the island adopted a head that gains more without it",
    )
    for change in before:
        facts.forget(change.commit)


@fold.register
def _island_restarted(event: se.IslandRestarted, facts: RunFacts) -> None:
    island = facts.islands[event.island]
    if island.head != event.old or island.experiment is not None:
        raise ValueError(f"{event.island} cannot go from {event.old} to {event.new} now")
    before, island.kept = island.kept, [facts.keeps[number] for number in event.changes]
    island.head, island.restarted = event.new, True
    facts.ask_again()
    _note_adoption(island, before, "kept, then left: a person restarted the island without it")


@fold.register
def _commit_quarantined(event: ev.CommitQuarantined, facts: RunFacts) -> None:
    facts.ask_again()
    for fallback in event.heads:
        if fallback.new:
            facts.islands[fallback.island].head = fallback.new
        else:
            facts.broken_baseline = facts.broken_baseline or event.reason
    facts.memory.quarantine(event.commits, event.reason)
    for island in facts.islands.values():
        _uncount_quarantined(facts, island, event.reason)
    for commit in event.commits:
        facts.forget(commit)


def _uncount_quarantined(facts: RunFacts, island: IslandState, reason: str) -> None:
    """Uncount an island's quarantined changes, and hide what agents were shown of them."""
    quarantines, name = facts.quarantines, island.opened.island
    island.kept = [kept for kept in island.kept if kept.commit not in quarantines.commits]
    lost = [
        kept
        for kept in facts.keeps.values()
        if kept.island == name and kept.commit in quarantines.commits
    ]
    for kept in lost:
        del facts.keeps[kept.experiment]
        facts.kept_commits.discard(kept.commit)
    facts.keep_tally = facts.keep_tally.less([kept.gain for kept in lost])
    if lost:
        island.endings["kept"] -= len(lost)
        island.endings["quarantined"] = island.endings.get("quarantined", 0) + len(lost)
    for n, attempt in enumerate(island.recent_attempts):
        if attempt.experiment in quarantines.experiments:
            own = any(kept.experiment == attempt.experiment for kept in lost)
            ending: Ending = "failed" if own or attempt.ending == "kept" else attempt.ending
            island.recent_attempts[n] = replace(attempt, ending=ending, reason=reason, gain=None)


def move_head(facts: RunFacts, experiment: Experiment, gain: Gain, *, simpler: bool) -> None:
    """Move the head of an experiment's island to its candidate, which is kept."""
    island = facts.islands[experiment.island]
    old, island.head = island.head, experiment.commit
    # the screening score selected the commit, so it is biased and not one of its head's scores
    # (a rule that keeps without confirming has nothing else)
    facts.scores.by_commit[experiment.commit] = dict(experiment.confirmed or experiment.screened)
    facts.keep_tally = facts.keep_tally.plus(gain)
    kept = KeptChange(
        experiment.number,
        experiment.commit,
        old,
        experiment.hypothesis,
        gain,
        experiment.origin or experiment.number,
        experiment.island,
        island.slice.device,
        simpler,
    )
    facts.keeps[kept.experiment] = kept
    facts.kept_commits.add(kept.commit)
    facts.claimless, island.restarted = 0, False
    island.kept.append(kept)


def _note_adoption(island: IslandState, before: list[KeptChange], lost: str) -> None:
    """Add adopted changes to an island's attempts, and mark those that are `lost`, with the reason.

    These are the ones that its new head lacks.
    """
    old, new = ({change.origin for change in kept} for kept in (before, island.kept))
    lacking = {change.experiment for change in before if change.origin not in new}
    for n, attempt in enumerate(island.recent_attempts):
        if attempt.experiment in lacking:
            island.recent_attempts[n] = replace(attempt, ending="outdated", reason=lost)
    for change in island.kept:
        if change.origin not in old:
            reason = f"kept on {change.island}, whose head this island adopted"
            island.recent_attempts.append(
                Attempt(
                    change.experiment,
                    change.island,
                    change.hypothesis,
                    {},
                    "kept",
                    reason,
                    change.gain,
                )
            )
