"""Names that the lineage looks up for an event, so that a batch of events loads these alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from islands import events as ev


def speaks_of(event: ev.Event) -> Iterator[int | str]:
    """Yield what `Lineage.take` looks up for `event`: experiments by number, commits by id."""
    yield from _of_a_life(event)
    match event:
        case ev.IslandOpened() | ev.Merged():
            yield event.head
        case ev.StackCheckAssembled() | ev.SealedScored():
            yield from (event.base, event.commit)
        case ev.StackCheckEnded():
            yield event.commit
            yield from chain(event.parts, event.dropped, *event.culprits)
        case ev.PromotionStarted() | ev.PromotionEnded():
            yield from (event.base, event.commit)
            yield from (contender.experiment for contender in event.contenders)
        case ev.ConsensusDrafted():
            yield from event.changes
        case ev.ConsensusMoved():
            yield from chain((event.base, event.commit), event.parts, event.changes)
        case ev.CommitQuarantined():
            yield from event.commits
        case ev.TrialEnded():
            yield event.started.commit
        case ev.SliceQuarantined():
            yield from (trial.commit for trial in event.trials)
            yield from (discard.experiment for discard in event.discards)


def _of_a_life(event: ev.Event) -> Iterator[int | str]:
    """Yield what is looked up for an event of an experiment."""
    match event:
        case ev.ProposalReceived():
            yield from (event.parent, event.donor, event.origin)
        case ev.MigrantOffered():
            yield from (event.parent, event.migrant.commit)
        case ev.CandidateRebased():
            yield from (event.experiment, event.parent)
        case ev.ProposalRefused():
            yield from (event.experiment, event.repeats)
        case ev.CandidateAdmitted():
            yield event.experiment
        case ev.VerdictReached():
            yield from (event.commit, event.parent)
        case ev.CandidateDropped():
            yield event.experiment
        case ev.CommitChecked() | ev.FreshChecked():
            yield event.commit
