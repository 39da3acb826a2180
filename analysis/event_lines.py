"""Lines that tell a person of events: of the log of a launch, and of the page's feed.

Each is told from its event alone. What only the fold of the run knows, as the score of a new head,
the log adds (swarm/cli/event_log.py); what an event's experiment is about, the feed does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Literal

from analysis.untrusted_text import first_line
from analysis.words import plural
from islands import events as ev
from islands.events import steering as se
from islands.records import Migrant
from islands.steering import said

Tone = Literal["kept", "discarded", "steered", "plain", "trouble", "detail"]
"""What a line is: a change was kept or discarded, a person steered, something went wrong, a step on
the way that the page leaves out, or none of these."""


@dataclass(frozen=True, slots=True)
class EventLine:
    """One line on an event.

    experiment: the experiment that it is about, 0 for none
    """

    text: str
    tone: Tone = "plain"
    experiment: int = 0


@singledispatch
def line_of(event: ev.Event) -> EventLine | None:
    """Return what is told of `event`, None for nothing. An agent's text is in it as it wrote it."""
    del event
    return None


@line_of.register
def _run_opened(event: ev.RunOpened) -> EventLine:
    start = f"{event.target} at {event.base[:8]}, harness {event.harness}"
    return EventLine(f"run {event.run} starts on {start}")


@line_of.register
def _run_resumed(event: ev.RunResumed) -> EventLine:
    del event
    return EventLine("the run resumes")


@line_of.register
def _run_stopped(event: ev.RunStopped) -> EventLine:
    return EventLine(f"run stopped ({event.reason})")


@line_of.register
def _island_opened(event: ev.IslandOpened) -> EventLine:
    return EventLine(f"island {event.island} opens on {event.slice.name}, agent {event.agent}")


@line_of.register
def _trial_ended(event: ev.TrialEnded) -> EventLine | None:
    started, failure = event.started, event.outcome.failure
    if failure is None:
        return None
    text = f"{trial_name(started)}: failed, {failure.kind}: {failure.reason}"
    return EventLine(text, experiment=started.experiment)


@line_of.register
def _trial_voided(event: ev.TrialVoided) -> EventLine:
    text = f"{trial_name(event.started)} is void and runs again: {event.reason}"
    return EventLine(text, experiment=event.started.experiment)


@line_of.register
def _commit_checked(event: ev.CommitChecked) -> EventLine:
    subject = f"{event.island} #{event.experiment}" if event.experiment else "the base"
    if event.stack:
        subject = f"a combination of stack check {event.stack}"
    elif event.promotion:
        subject = f"the stack of promotion {event.promotion}"
    if event.ok:
        text = f"{subject} passes the checks ({event.seconds:.1f} s)"
        return EventLine(text, "detail", event.experiment)
    return EventLine(f"{subject} fails a check: {event.reason}", experiment=event.experiment)


@line_of.register
def _fresh_checked(event: ev.FreshChecked) -> EventLine:
    gains = f"{event.fresh.format()} on fresh data, {event.dev.format()} on dev"
    ending = "holds" if event.ok else "DOES NOT HOLD"
    text = f"{event.island} #{event.experiment}: gain {ending}: {gains}"
    return EventLine(text, "detail" if event.ok else "plain", event.experiment)


@line_of.register
def _migrant_offered(event: ev.MigrantOffered) -> EventLine:
    text = f"{event.island} #{event.experiment} tries {change_of(event.migrant)}"
    return EventLine(text, experiment=event.experiment)


@line_of.register
def _candidate_rebased(event: ev.CandidateRebased) -> EventLine:
    commits = f"{event.parent[:8]}: {event.commit[:8]}"
    text = f"{event.island} #{event.experiment} rebased on the new head {commits}"
    return EventLine(text, "detail", event.experiment)


@line_of.register
def _candidate_dropped(event: ev.CandidateDropped) -> EventLine:
    text = f"{event.island} #{event.experiment} outdated: {event.reason}"
    return EventLine(text, "detail", event.experiment)


@line_of.register
def _proposal_refused(event: ev.ProposalRefused) -> EventLine:
    text = f"{event.island} #{event.experiment} refused, {event.rule}: {event.reason}"
    return EventLine(text, experiment=event.experiment)


@line_of.register
def _agent_failed(event: ev.AgentFailed) -> EventLine:
    agent = f"{event.island} agent {event.agent}"
    if event.error_kind == "exhausted":
        return EventLine(f"{agent} has nothing left to try: {event.reason}")
    return EventLine(f"{agent} failed, {event.error_kind}: {event.reason}", "trouble")


@line_of.register
def _verdict_reached(event: ev.VerdictReached) -> EventLine:
    gain = f"gain {event.gain.format()}, " if event.gain and not event.simpler else ""
    who, why = f"{event.island} #{event.experiment}", f"{gain}{event.reason}"
    if event.verdict == "discard":
        null = " (A/A test)" if event.null else ""
        return EventLine(f"{who}{null} discarded: {why}", "discarded", event.experiment)
    if event.null:
        text = f"{who} is an A/A test and was kept, a false keep: {why}"
        return EventLine(text, "trouble", event.experiment)
    return EventLine(f"{who} KEPT: {why}", "kept", event.experiment)


@line_of.register
def _stack_check_started(event: ev.StackCheckStarted) -> EventLine:
    changes = plural(len(event.parts), "kept change")
    return EventLine(f"stack check {event.number}: do {changes} add up?")


@line_of.register
def _stack_check_ended(event: ev.StackCheckEnded) -> EventLine:
    return EventLine(
        f"stack check {event.number} {event.verdict}: gain {event.observed.format()},"
        f" interaction {event.interaction.format()},"
        f" {_numbers(event.parts)} stay, {_numbers(event.dropped)} dropped"
    )


@line_of.register
def _promotion_started(event: ev.PromotionStarted) -> EventLine:
    changes = plural(len(event.parts), "change")
    return EventLine(f"promotion {event.number}: {changes} at rung {event.rung}")


@line_of.register
def _promotion_ended(event: ev.PromotionEnded) -> EventLine:
    time = f"; reaches the base's score in {event.reached:.3g} s" if event.reached else ""
    return EventLine(f"promotion {event.number} {event.verdict.upper()}: {event.reason}{time}")


@line_of.register
def _consensus_moved(event: ev.ConsensusMoved) -> EventLine:
    commits = plural(len(event.changes), "commit")
    return EventLine(f"consensus: {commits} on {event.base[:8]}, up to {event.commit[:8]}", "kept")


@line_of.register
def _sealed_scored(event: ev.SealedScored) -> EventLine:
    return EventLine(f"sealed split: {event.commit[:8]} gains {event.gain.format()}", "kept")


@line_of.register
def _commit_quarantined(event: ev.CommitQuarantined) -> EventLine:
    commit = f"{event.commit[:8]} is dropped"
    if event.trial:
        commit = f"{event.commit[:8]} is INVALID by trial {event.trial}"
    back = [f"{head.island} falls back to {head.new[:8] or 'no commit'}" for head in event.heads]
    set_apart = f"{commit}: {plural(len(event.commits), 'commit')} quarantined"
    return EventLine("; ".join([set_apart, *back]), "trouble")


@line_of.register
def _slice_quarantined(event: ev.SliceQuarantined) -> EventLine:
    void = f"{plural(len(event.trials), 'trial')}, {plural(len(event.discards), 'discard')} void"
    return EventLine(f"slice {event.slice} QUARANTINED: {event.reason}; {void}", "trouble")


@line_of.register
def _slice_released(event: ev.SliceReleased) -> EventLine:
    return EventLine(f"slice {event.slice} is no longer quarantined: {event.reason}")


@line_of.register
def _island_reassigned(event: ev.IslandReassigned) -> EventLine:
    return EventLine(f"{event.island} now runs on slice {event.slice.name}: {event.reason}")


@line_of.register
def _head_adopted(event: ev.HeadAdopted) -> EventLine:
    head = f"the head {event.new[:8]} of {event.source}"
    return EventLine(f"{event.island} adopts {head} without a trial: {_numbers(event.changes)}")


@line_of.register
def _merged(event: ev.Merged) -> EventLine:
    return EventLine(f"merged as {event.commit[:8]} into {event.target}", "kept")


@line_of.register
def _steered(event: se.Steered) -> EventLine:
    experiment = event.experiment if isinstance(event, se.ChangeDropped) else 0
    return EventLine(said(event), "steered", experiment)


def trial_name(started: ev.TrialStarted) -> str:
    """Return a trial's island, experiment, purpose and name."""
    experiment = f" #{started.experiment}" if started.experiment else ""
    return f"{started.island}{experiment} {started.purpose} trial {started.trial}"


def change_of(migrant: Migrant) -> str:
    """Return which change migrates, from where, and its hypothesis."""
    return f"change #{migrant.experiment} of {migrant.island}: {first_line(migrant.hypothesis)}"


def _numbers(experiments: Sequence[int]) -> str:
    return " ".join(f"#{number}" for number in experiments) or "none"
